/* Attention of a stream with rotary positions over the ring of what it has heard. */
#include "vectors.h"

#define TOGETHER 4 /* sums that run beside each other */

typedef struct {
  ptrdiff_t batch, steps, heads, depth, ring, window; /* `depth` and `ring` are multiples of 16 */
} attention_shape;

/* Neighbours of x turned together by angles whose cosines and sines take turns in `turn`. */
static void turned(const float *x, const float *turn, ptrdiff_t depth, float *out, ptrdiff_t apart) {
  for (ptrdiff_t i = 0; i < depth; i += 2) {
    out[i * apart] = x[i] * turn[i] - x[i + 1] * turn[i + 1];
    out[(i + 1) * apart] = x[i] * turn[i + 1] + x[i + 1] * turn[i];
  }
}

/* Scores of a query for `count` times 16 places from p on; several at once, as one sum would wait for itself. */
static inline void scored(const attention_shape *s, const float *query, const float *keys, ptrdiff_t p, int count,
                          float *scores) {
  vec sum[TOGETHER];
  for (int i = 0; i < count; i++) sum[i] = spread(0.0f);
  for (ptrdiff_t d = 0; d < s->depth; d++)
    for (int i = 0; i < count; i++) sum[i] += spread(query[d]) * load(keys + d * s->ring + p + i * LANES);
  for (int i = 0; i < count; i++) store(scores + p + i * LANES, sum[i]);
}

/* The weights that a query gives to the places of the ring, not yet divided by their sum, which is returned. */
static float weighed(const attention_shape *s, const float *query, const float *keys, int64_t newest, int64_t at,
                     float *weights) {
  ptrdiff_t p = 0;
  for (; p + TOGETHER * LANES <= s->ring; p += TOGETHER * LANES) scored(s, query, keys, p, TOGETHER, weights);
  for (; p < s->ring; p += LANES) scored(s, query, keys, p, 1, weights);
  int64_t age = newest % s->ring; /* of place 0, in positions before the newest */
  for (p = 0; p < s->ring; p++, age = age == 0 ? s->ring - 1 : age - 1) {
    int64_t behind = at - (newest - age);
    if (behind < 0 || behind >= s->window || age > newest) weights[p] = -__builtin_inff();
  }
  vec top = load(weights);
  for (p = LANES; p < s->ring; p += LANES) top = most(top, load(weights + p));
  float highest = top[0];
  for (int i = 1; i < LANES; i++) highest = top[i] > highest ? top[i] : highest;
  float totals[16] = {0}, total = 0.0f; /* of every 16th place: the same with any width */
  for (p = 0; p < s->ring; p += LANES) {
    vec score = load(weights + p), share = exponential(score - spread(highest));
    share = choose(score == spread(-__builtin_inff()), spread(0.0f), share);
    store(weights + p, share);
    store(totals + p % 16, load(totals + p % 16) + share);
  }
  for (int i = 0; i < 16; i++) total += totals[i];
  return total;
}

/* The values, weighed, for `count` times 16 channels from d on. */
static inline void mixed_values(const attention_shape *s, const float *weights, const float *values, ptrdiff_t d,
                                int count, float total, float *out) {
  vec sum[TOGETHER];
  for (int i = 0; i < count; i++) sum[i] = spread(0.0f);
  for (ptrdiff_t p = 0; p < s->ring; p++)
    for (int i = 0; i < count; i++) sum[i] += spread(weights[p]) * load(values + p * s->depth + d + i * LANES);
  for (int i = 0; i < count; i++) store(out + d + i * LANES, sum[i] / spread(total));
}

/* `mixed` [B, T, H, 3, D] (query, key, value), `turn` [B, T, D] and `seen` [B] positions before these -> out
   [B, T, H, D]. Position p lies at place p modulo `ring` of `keys` [B, H, D, ring] and `values` [B, H, ring, D], and
   sees itself and `window` - 1 before it. `weights` has room for a ring. */
void natd_ring_attention(const attention_shape *s, const float *mixed, const float *turn, const int64_t *seen,
                         float *keys, float *values, float *out, float *weights) {
  ptrdiff_t depth = s->depth, steps = s->steps;
  float query[depth];
  for (ptrdiff_t row = 0; row < s->batch * s->heads; row++) {
    ptrdiff_t b = row / s->heads, h = row % s->heads;
    float *own_keys = keys + row * depth * s->ring, *own_values = values + row * depth * s->ring;
    for (ptrdiff_t t = 0; t < steps; t++) {
      const float *from = mixed + ((b * steps + t) * s->heads + h) * 3 * depth;
      ptrdiff_t place = (seen[b] + t) % s->ring;
      turned(from + depth, turn + (b * steps + t) * depth, depth, own_keys + place, s->ring);
      for (ptrdiff_t d = 0; d < depth; d++) own_values[place * depth + d] = from[2 * depth + d];
    }
    for (ptrdiff_t t = 0; t < steps; t++) {
      const float *from = mixed + ((b * steps + t) * s->heads + h) * 3 * depth;
      turned(from, turn + (b * steps + t) * depth, depth, query, 1);
      float total = weighed(s, query, own_keys, seen[b] + steps - 1, seen[b] + t, weights);
      float *to = out + ((b * steps + t) * s->heads + h) * depth;
      ptrdiff_t d = 0;
      for (; d + TOGETHER * LANES <= depth; d += TOGETHER * LANES)
        mixed_values(s, weights, own_values, d, TOGETHER, total, to);
      for (; d < depth; d += LANES) mixed_values(s, weights, own_values, d, 1, total, to);
    }
  }
}
