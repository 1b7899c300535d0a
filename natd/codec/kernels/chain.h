/* A chain of causal convolutions over one stream, some of real numbers and some of 8-bit ones. */
#pragma once
#include "vectors.h"

#define CHANNELS 16 /* of a group's outputs, which are a multiple of it */

/* How what a convolution made is added to what its residual unit began with. */
enum { NO_SUM, REAL_SUM, ROUNDED_SUM, TABLE_SUM };

/* Scale and zero of an 8-bit signal, which travels as q + 128. */
typedef struct {
  double scale;
  ptrdiff_t zero;
} quantization;

/* One convolution of groups; `dilation` 0 where it is not depthwise. Weights [groups][kernel * inputs][outputs] or
   [kernel][channels] of a depthwise one. */
typedef struct {
  ptrdiff_t inputs, outputs, groups, kernel, stride, dilation;
  ptrdiff_t whole, leaky, begins, sum; /* of 8-bit numbers; LeakyReLU before it; of a residual unit the first */
  const float *weights, *bias;
  /* Of 8-bit ones: what comes in, the table of what it is after the LeakyReLU or none, and the rounding of the sums. */
  quantization given, act;
  const float *table;
  const int64_t *multiplier, *half, *right, *away, *zero;
  /* Of the sum: of what was made, of what comes out, and the table of both. */
  quantization added, total;
  const int64_t *sums;
} layer;

typedef struct {
  const layer *layers;
  ptrdiff_t count, samples, widest; /* layers; samples of a frame; values of the largest signal with its past */
  quantization out;                 /* of the last signal, if it is of 8 bits */
  double slope;
} chain;

static inline ptrdiff_t context_of(const layer *l) {
  return l->dilation ? (l->kernel - 1) * l->dilation : l->kernel - l->stride;
}

static inline float made_real(ptrdiff_t index, quantization of) {
  return (float)(index - 128 - of.zero) * (float)of.scale;
}

/* A step's sums of whole numbers -> index: rounded at 31 bits, and once more at a power of two, half away from zero. */
static inline void rounded(const layer *l, const float *sums, uint8_t *index) {
  for (ptrdiff_t o = 0; o < l->outputs; o++) {
    int64_t high = ((int64_t)(sums[o] + l->bias[o]) * l->multiplier[o] + ((int64_t)1 << 30)) >> 31;
    int64_t q = ((high + l->half[o] + (high >> 63) * l->away[o]) >> l->right[o]) + l->zero[o];
    index[o] = (uint8_t)(q < 0 ? 0 : q > 255 ? 255 : q);
  }
}
