/* Rows times a constant matrix that lies in panels of 32 columns, each [K][32]: the memory is read in one run. Its
   numbers are floats, or bfloat16: then two share a word, column i the lower half and column i + 16 the upper one.

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

/* One term of R rows, of which `each` is known, times `of` 32 columns. */
#define TERM_OF_FLOATS(R)                                                                \
  _Pragma("GCC unroll 8") for (int v = 0; v < VECTORS; v++) {                            \
    vec some = load((const float *)w + v * LANES);                                       \
    _Pragma("GCC unroll 12") for (int r = 0; r < R; r++) sum[r][v] += each[r] * some;    \
  }                                                                                      \
  w += PANEL * sizeof(float);
#define TERM_OF_HALVES(R)                                                                \
  _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS / 2; v++) {                        \
    ivec pair = (ivec)load((const float *)w + v * LANES);                                \
    vec lower = (vec)(pair << 16), upper = (vec)(pair & (int32_t)0xffff0000);            \
    _Pragma("GCC unroll 12") for (int r = 0; r < R; r++) {                               \
      sum[r][v] += each[r] * lower;                                                      \
      sum[r][v + VECTORS / 2] += each[r] * upper;                                        \
    }                                                                                    \
  }                                                                                      \
  w += PANEL * sizeof(float) / 2;

/* R rows, `apart` floats from each other; their terms are `next` floats apart. */
#define DEFINE_ROWS(NAME, R, TERM)                                                                                   \
  static void NAME(const float *x, ptrdiff_t apart, ptrdiff_t next, const char *w, ptrdiff_t count, tile out) {      \
    vec sum[R][VECTORS];                                                                                             \
    for (int r = 0; r < R; r++)                                                                                      \
      for (int v = 0; v < VECTORS; v++) sum[r][v] = spread(0.0f);                                                    \
    for (ptrdiff_t i = 0; i < count; i++, x += next) {                                                               \
      __builtin_prefetch(w + AHEAD);                                                                                 \
      __builtin_prefetch(w + AHEAD + 64);                                                                            \
      vec each[R];                                                                                                   \
      _Pragma("GCC unroll 12") for (int r = 0; r < R; r++) each[r] = spread(x[r * apart]);                           \
      TERM(R)                                                                                                        \
    }                                                                                                                \
    for (int r = 0; r < R; r++)                                                                                      \
      for (int v = 0; v < VECTORS; v++) store(out[r] + v * LANES, load(out[r] + v * LANES) + sum[r][v]);             \
  }
#define DEFINE_BOTH(R)                              \
  DEFINE_ROWS(rows_##R, R, TERM_OF_FLOATS)          \
  DEFINE_ROWS(half_rows_##R, R, TERM_OF_HALVES)
DEFINE_BOTH(1)
DEFINE_BOTH(2)
DEFINE_BOTH(3)
#if WIDTH == 64
DEFINE_BOTH(4)
DEFINE_BOTH(6)
DEFINE_BOTH(8)
DEFINE_BOTH(12)
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

typedef void rows_function(const float *, ptrdiff_t, ptrdiff_t, const char *, ptrdiff_t, tile);

static inline rows_function *rows_of(int count, int halves) {
  switch (count) {
    case 1: return halves ? half_rows_1 : rows_1;
    case 2: return halves ? half_rows_2 : rows_2;
#if WIDTH == 64
    case 4: return halves ? half_rows_4 : rows_4;
    case 6: return halves ? half_rows_6 : rows_6;
    case 8: return halves ? half_rows_8 : rows_8;
    case 12: return halves ? half_rows_12 : rows_12;
#endif
    default: return halves ? half_rows_3 : rows_3;
  }
}

/* Bytes of a panel of `count` terms. */
static inline ptrdiff_t panel_bytes(ptrdiff_t count, int halves) {
  return count * PANEL * (ptrdiff_t)sizeof(float) / (halves ? 2 : 1);
}

/* A block of rows times a panel, of floats or of `halves`, -> `out`. */
static inline void panel_product(const row_block *x, const char *w, int halves, ptrdiff_t count, tile out) {
  rows_function *rows = rows_of(x->count, halves);
  memset(out, 0, x->count * sizeof(*out));
  for (ptrdiff_t at = 0; at < count; at += BLOCK) {
    ptrdiff_t some = count - at < BLOCK ? count - at : BLOCK;
    rows(x->at + at * x->next, x->apart, x->next, w + panel_bytes(at, halves), some, out);
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
