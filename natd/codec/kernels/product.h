/* Rows times a constant matrix that lies in panels of 32 columns, each [K][32]: the memory is read in one run.

   Every output is one row's: sums over K in blocks of 256, in order, whatever the number of rows. */
#pragma once
#include "vectors.h"

#define PANEL 32
#define VECTORS (PANEL / LANES)
#define BLOCK 256  /* terms of a sum before it is added to the others: keeps rounding small */
#define AHEAD 2048 /* bytes that are fetched before they are needed: a prefetcher stops where a page ends */
#define WAYS 8     /* lines of a cache whose addresses differ by multiples of a page */
#define PAGE 1024  /* floats of a page */
#define MOST_ROWS (WIDTH == 64 ? 12 : 3) /* whose sums fit into registers, beside what they are made of */

typedef float tile[MOST_ROWS][PANEL];

/* R rows, `apart` floats from each other; their terms are `next` floats apart. */
#define DEFINE_ROWS(R)                                                                                              \
  static void rows_##R(const float *x, ptrdiff_t apart, ptrdiff_t next, const float *w, ptrdiff_t count, tile out) { \
    vec sum[R][VECTORS];                                                                                            \
    for (int r = 0; r < R; r++)                                                                                     \
      for (int v = 0; v < VECTORS; v++) sum[r][v] = spread(0.0f);                                                   \
    for (ptrdiff_t i = 0; i < count; i++, x += next, w += PANEL) {                                                  \
      __builtin_prefetch((const char *)w + AHEAD);                                                                  \
      __builtin_prefetch((const char *)w + AHEAD + 64);                                                             \
      vec each[R];                                                                                                  \
      _Pragma("GCC unroll 12") for (int r = 0; r < R; r++) each[r] = spread(x[r * apart]);                          \
      _Pragma("GCC unroll 8") for (int v = 0; v < VECTORS; v++) {                                                   \
        vec some = load(w + v * LANES);                                                                             \
        _Pragma("GCC unroll 12") for (int r = 0; r < R; r++) sum[r][v] += each[r] * some;                           \
      }                                                                                                             \
    }                                                                                                               \
    for (int r = 0; r < R; r++)                                                                                     \
      for (int v = 0; v < VECTORS; v++) store(out[r] + v * LANES, load(out[r] + v * LANES) + sum[r][v]);            \
  }
DEFINE_ROWS(1)
DEFINE_ROWS(2)
DEFINE_ROWS(3)
#if WIDTH == 64
DEFINE_ROWS(4)
DEFINE_ROWS(6)
DEFINE_ROWS(8)
DEFINE_ROWS(12)
#endif

/* How many of `left` rows go together. */
static inline int taken(ptrdiff_t left) {
  if (WIDTH == 64 && left > 3) return left >= 12 ? 12 : left >= 8 ? 8 : left >= 6 ? 6 : 4;
  return left >= 3 ? 3 : (int)left;
}

/* Rows that go together, and where their terms are. */
typedef struct {
  const float *at;
  ptrdiff_t apart, next;
  int count;
} row_block;

/* A block of rows times a panel -> `out`. */
static inline void panel_product(const row_block *x, const float *w, ptrdiff_t count, tile out) {
  memset(out, 0, x->count * sizeof(*out));
  for (ptrdiff_t at = 0; at < count; at += BLOCK) {
    ptrdiff_t some = count - at < BLOCK ? count - at : BLOCK;
    const float *xs = x->at + at * x->next, *ws = w + at * PANEL;
    switch (x->count) {
      case 1: rows_1(xs, x->apart, x->next, ws, some, out); break;
      case 2: rows_2(xs, x->apart, x->next, ws, some, out); break;
#if WIDTH == 64
      case 4: rows_4(xs, x->apart, x->next, ws, some, out); break;
      case 6: rows_6(xs, x->apart, x->next, ws, some, out); break;
      case 8: rows_8(xs, x->apart, x->next, ws, some, out); break;
      case 12: rows_12(xs, x->apart, x->next, ws, some, out); break;
#endif
      default: rows_3(xs, x->apart, x->next, ws, some, out);
    }
  }
}

/* Rows of a batch of windows over signals: `steps` in each of `batch`, in floats. */
typedef struct {
  const float *at;
  ptrdiff_t batch, steps, batch_stride, step_stride;
} windows;

/* The block of rows from `first` on. Where they are not evenly apart, or so that they would drive each other out of the
   cache, they are laid side by side in `side`, if that is not `done` yet. */
static inline row_block block_of(const windows *x, ptrdiff_t first, ptrdiff_t count, float *side, int done) {
  int rows = taken(x->batch * x->steps - first);
  ptrdiff_t batch = first / x->steps, step = first % x->steps;
  if (step + rows <= x->steps && (rows <= WAYS || x->step_stride % PAGE))
    return (row_block){x->at + batch * x->batch_stride + step * x->step_stride, x->step_stride, 1, rows};
  for (int r = 0; r < rows && !done; r++) {
    const float *from = x->at + (first + r) / x->steps * x->batch_stride + (first + r) % x->steps * x->step_stride;
    for (ptrdiff_t i = 0; i < count; i++) side[i * rows + r] = from[i];
  }
  return (row_block){side, 1, rows, rows};
}
