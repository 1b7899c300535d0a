#include "product.h"

/* out[r] = activated(x[r] @ w + bias + plus[r]), for panels from `begin` to `end` of those of `n` columns; `bias` is
   padded to whole panels; `side` has room for all rows. */
void natd_product(const windows *x, const char *w, int halves, ptrdiff_t k, ptrdiff_t n, ptrdiff_t begin,
                  ptrdiff_t end, const float *bias, const float *plus, int activation, float *out, float *side) {
  ptrdiff_t rows = x->batch * x->steps;
  for (ptrdiff_t p = begin; p < end; p++) {
    size_t wide = (n - p * PANEL < PANEL ? n - p * PANEL : PANEL) * sizeof(float);
    for (ptrdiff_t r = 0; r < rows; r += taken(rows - r)) {
      tile sums;
      row_block block = block_of(x, r, k, side + r * k, p > begin);
      panel_product(&block, w + p * panel_bytes(k, halves), halves, k, sums);
      for (int i = 0; i < block.count; i++) {
        ptrdiff_t at = (r + i) * n + p * PANEL;
        float more[PANEL] = {0};
        if (plus) memcpy(more, plus + at, wide);
        for (int h = 0; h < PANEL; h += LANES) {
          vec y = load(sums[i] + h) + load(bias + p * PANEL + h);
          if (plus) y += load(more + h);
          store(sums[i] + h, activated(y, activation));
        }
        memcpy(out + at, sums[i], wide);
      }
    }
  }
}
