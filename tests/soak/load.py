"""A steady load of frames on a running sink."""

import threading
import time

from natd.wire import Frame, encode
from tests.streams import header, heartbeat


class Load:
    """Publishes `per_second` frames and a heartbeat a second until it is left; `sent` frames in `took` s."""

    def __init__(self, running, per_second):
        self.sent, self.took = 0, 0.0
        self._running, self._per_second, self._over = running, per_second, threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self):
        self._running.publish(header(frame_samples=24))
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._over.set()
        self._thread.join()

    def _run(self):
        began = time.monotonic()
        while not self._over.is_set():
            seq = self.sent
            event = Frame(seq, seq, float(seq), (1, 2), (seq % 1024, [1, 2]), kf=seq % 500 == 0)
            self._publish(event)
            if seq % self._per_second == 0:
                self._publish(heartbeat(seq, seq))
            self.sent += 1
            self.took = time.monotonic() - began
            time.sleep(max(0.0, began + self.sent / self._per_second - time.monotonic()))

    def _publish(self, event):
        line = encode(event)
        self._running.loop.call_soon_threadsafe(self._running.sink.publish, "stage", event, line)
