/* A recurrent layer over the frames of a step. */
#include "product.h"

/* `drive` [B, T, 4 C], what the inputs give for the gates admit, keep, show and candidate; the memory's part is `hidden`
   [B, C] times `w`, in panels. `hidden` and `cell` move on; -> out [B, T, C]. C is a multiple of 32; `side` has room for
   [B, 4 C]. */
void natd_lstm(const float *drive, ptrdiff_t batch, ptrdiff_t steps, ptrdiff_t width, const float *w, float *hidden,
               float *cell, float *out, float *side) {
  for (ptrdiff_t t = 0; t < steps; t++) {
    for (ptrdiff_t p = 0; p < 4 * width / PANEL; p++)
      for (ptrdiff_t r = 0; r < batch; r += taken(batch - r)) {
        tile sums;
        row_block block = {hidden + r * width, width, 1, taken(batch - r)};
        panel_product(&block, (const char *)(w + p * width * PANEL), 0, width, sums);
        for (int i = 0; i < block.count; i++)
          for (int h = 0; h < PANEL; h += LANES) {
            ptrdiff_t at = p * PANEL + h;
            store(side + (r + i) * 4 * width + at,
                  load(sums[i] + h) + load(drive + ((r + i) * steps + t) * 4 * width + at));
          }
      }
    for (ptrdiff_t r = 0; r < batch; r++)
      for (ptrdiff_t c = 0; c < width; c += LANES) {
        const float *gates = side + r * 4 * width + c;
        float *memory = cell + r * width + c;
        vec kept = sigmoid(load(gates + width)) * load(memory);
        vec now = kept + sigmoid(load(gates)) * hyperbolic_tangent(load(gates + 3 * width));
        vec shown = sigmoid(load(gates + 2 * width)) * hyperbolic_tangent(now);
        store(memory, now);
        store(hidden + r * width + c, shown);
        store(out + (r * steps + t) * width + c, shown);
      }
  }
}
