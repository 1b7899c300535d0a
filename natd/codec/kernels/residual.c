/* Nearest codes, and layers of them that each take what the ones before left over. */
#include "product.h"

/* The column of the highest sum of each row, the first of several. */
static void highest(const row_block *x, const float *w, const float *bias, ptrdiff_t depth, ptrdiff_t count,
                    int64_t *codes) {
  vec best[MOST_ROWS];
  ivec where[MOST_ROWS];
  ivec lanes;
  for (int i = 0; i < LANES; i++) lanes[i] = i;
  for (int r = 0; r < x->count; r++) best[r] = spread(-__builtin_inff()), where[r] = lanes;
  for (ptrdiff_t p = 0; p * PANEL < count; p++) {
    tile sums;
    panel_product(x, (const char *)(w + p * depth * PANEL), 0, depth, sums);
    for (int r = 0; r < x->count; r++)
      for (int h = 0; h < PANEL; h += LANES) {
        vec y = load(sums[r] + h) + load(bias + p * PANEL + h);
        ivec better = y > best[r];
        best[r] = choose(better, y, best[r]);
        where[r] = (better & (lanes + (int32_t)(p * PANEL + h))) | (~better & where[r]);
      }
  }
  for (int r = 0; r < x->count; r++) {
    int found = 0;
    for (int i = 1; i < LANES; i++)
      if (best[r][i] > best[r][found] || (best[r][i] == best[r][found] && where[r][i] < where[r][found])) found = i;
    codes[r] = where[r][found];
  }
}

/* A codebook: `panels` of its codes, of [count, depth]; `bias` is minus half their squared lengths, and minus infinity
   where a panel has no code. */
typedef struct {
  const float *panels, *bias, *codes;
  ptrdiff_t count;
} codebook;

/* Vectors [rows, depth], over which what is left is written, -> codes [books, rows]. */
void natd_residual(float *x, ptrdiff_t rows, ptrdiff_t depth, const codebook *books, ptrdiff_t layers, int64_t *codes) {
  for (ptrdiff_t layer = 0; layer < layers; layer++) {
    const codebook *book = books + layer;
    for (ptrdiff_t r = 0; r < rows; r += taken(rows - r)) {
      row_block block = {x + r * depth, depth, 1, taken(rows - r)};
      int64_t *found = codes + layer * rows + r;
      highest(&block, book->panels, book->bias, depth, book->count, found);
      for (int i = 0; i < block.count; i++)
        for (ptrdiff_t d = 0; d < depth; d++) x[(r + i) * depth + d] -= book->codes[found[i] * depth + d];
    }
  }
}

/* Vectors [rows, depth] -> codes [layers, rows] of residual layers of `size` codes each, whose inner products `gram`
   [all, all] are known: `codebooks` [depth, all], `halves` half the codes' squared lengths; `far` has room for all. */
void natd_gram(const float *x, ptrdiff_t rows, ptrdiff_t depth, const double *codebooks, const double *halves,
               const double *gram, ptrdiff_t layers, ptrdiff_t size, int64_t *codes, double *far) {
  ptrdiff_t all = layers * size;
  for (ptrdiff_t r = 0; r < rows; r++) {
    for (ptrdiff_t j = 0; j < all; j++) far[j] = halves[j];
    for (ptrdiff_t d = 0; d < depth; d++)
      for (ptrdiff_t j = 0; j < all; j++) far[j] -= (double)x[r * depth + d] * codebooks[d * all + j];
    for (ptrdiff_t at = 0; at < all; at += size) {
      ptrdiff_t found = at;
      for (ptrdiff_t j = at + 1; j < at + size; j++)
        if (far[j] < far[found]) found = j;
      codes[at / size * rows + r] = found - at;
      for (ptrdiff_t j = at + size; j < all; j++) far[j] += gram[found * all + j];
    }
  }
}
