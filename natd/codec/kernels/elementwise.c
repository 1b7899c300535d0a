/* What codecs do to every sample, or to every channel by itself. */
#include "vectors.h"

/* ELU of every element. */
void natd_elu(const float *x, ptrdiff_t count, float *out) {
  for (ptrdiff_t i = 0; i < count; i += LANES) store_some(out + i, elu(load_some(x + i, count - i)), count - i);
}

/* sin(y)^2, whose period is pi: the nearest multiple of it is taken off, in two parts, of which the first is exact to
   one rounding of what stays. Beyond 10^7, where floats are more than a period apart, it is bounded and nothing more. */
static inline vec squared_sine(vec y) {
  static const float odd[] = {1.0f, -0.16666658f, 0.0083330506f, -1.9809075e-4f, 2.6052248e-6f};
  const vec whole = spread(12582912.0f), quarter = spread(1.5707964f);
  vec n = (y * spread(0.31830987f) + whole) - whole;
  vec r = (y - n * spread(3.1415927f)) - n * spread(-8.7422777e-8f);
  r = most(least(r, quarter), -quarter);
  r *= polynomial(odd, 4, r * r);
  return r * r;
}

/* x + sin(a x)^2 * inverse, over [rows, channels]; -> out, which may be x. */
void natd_snake(const float *x, ptrdiff_t rows, ptrdiff_t channels, const float *a, const float *inverse, float *out) {
  for (ptrdiff_t r = 0; r < rows; r++, x += channels, out += channels)
    for (ptrdiff_t c = 0; c < channels; c += LANES) {
      ptrdiff_t some = channels - c;
      vec y = load_some(x + c, some);
      store_some(out + c, squared_sine(y * load_some(a + c, some)) * load_some(inverse + c, some) + y, some);
    }
}

/* Every channel's convolution with its own `taps` [taps, channels], `dilation` steps apart: x [batch, length, channels]
   -> out [batch, steps, channels], from the first step on. */
void natd_depthwise(const float *x, ptrdiff_t batch, ptrdiff_t length, ptrdiff_t steps, ptrdiff_t channels,
                    const float *taps, ptrdiff_t count, ptrdiff_t dilation, const float *bias, float *out) {
  for (ptrdiff_t b = 0; b < batch; b++, x += length * channels, out += steps * channels)
    for (ptrdiff_t t = 0; t < steps; t++)
      for (ptrdiff_t c = 0; c < channels; c += LANES) {
        ptrdiff_t some = channels - c;
        vec sum = load_some(bias + c, some);
        for (ptrdiff_t i = 0; i < count; i++)
          sum += load_some(x + (t + i * dilation) * channels + c, some) * load_some(taps + i * channels + c, some);
        store_some(out + t * channels + c, sum, some);
      }
}
