/* Of a chain what depends on the numbers' type: NUMBER, and NAME(x) to tell its functions apart. */

#define AT_ONCE (WIDTH / (ptrdiff_t)sizeof(NUMBER))
#define PARTS (CHANNELS / AT_ONCE)
typedef NUMBER NAME(lanes) __attribute__((vector_size(WIDTH)));
typedef NUMBER NAME(lanes_at) __attribute__((vector_size(WIDTH), aligned(sizeof(NUMBER))));
typedef float NAME(floats) __attribute__((vector_size(WIDTH / sizeof(NUMBER) * sizeof(float)), aligned(4)));

/* `rows` outputs, `parts` vectors of channels each, of one group: x moves by `apart` from one output to the next. */
static inline __attribute__((always_inline)) void NAME(some_rows)(const layer *l, const NUMBER *x, ptrdiff_t apart,
                                                                  ptrdiff_t group, ptrdiff_t channel, int rows,
                                                                  int parts, NUMBER *out) {
  ptrdiff_t taken = l->inputs / l->groups, made = l->outputs / l->groups;
  const float *w = l->weights + group * l->kernel * taken * made + channel;
  NAME(lanes) sum[4][2 * PARTS];
  for (int r = 0; r < rows; r++)
    for (int p = 0; p < parts; p++) sum[r][p] = (NAME(lanes)){0};
  for (ptrdiff_t k = 0; k < l->kernel; k++) {
    const NUMBER *at = x + k * l->inputs + group * taken;
    for (ptrdiff_t i = 0; i < taken; i++, w += made)
      for (int p = 0; p < parts; p++) {
        NAME(lanes) each = __builtin_convertvector(*(const NAME(floats) *)(w + p * AT_ONCE), NAME(lanes));
        for (int r = 0; r < rows; r++) sum[r][p] += each * at[r * apart + i];
      }
  }
  NUMBER *to = out + group * made + channel;
  for (int r = 0; r < rows; r++)
    for (int p = 0; p < parts; p++) *(NAME(lanes_at) *)(to + r * l->outputs + p * AT_ONCE) = sum[r][p];
}

static inline __attribute__((always_inline)) void NAME(all_rows)(const layer *l, const NUMBER *x, ptrdiff_t group,
                                                                 ptrdiff_t channel, ptrdiff_t steps, int parts,
                                                                 NUMBER *out) {
  ptrdiff_t apart = l->stride * l->inputs, t = 0;
  for (; WIDTH == 64 && t + 4 <= steps; t += 4)
    NAME(some_rows)(l, x + t * apart, apart, group, channel, 4, parts, out + t * l->outputs);
  for (; t + 2 <= steps; t += 2)
    NAME(some_rows)(l, x + t * apart, apart, group, channel, 2, parts, out + t * l->outputs);
  for (; t < steps; t++) NAME(some_rows)(l, x + t * apart, apart, group, channel, 1, parts, out + t * l->outputs);
}

/* Every channel with its own taps. */
static void NAME(convolve_apart)(const layer *l, const NUMBER *restrict x, ptrdiff_t steps, NUMBER *restrict out) {
  ptrdiff_t width = l->inputs;
  for (ptrdiff_t t = 0; t < steps; t++, out += width) {
    for (ptrdiff_t c = 0; c < width; c++) out[c] = 0;
    for (ptrdiff_t k = 0; k < l->kernel; k++) {
      const NUMBER *restrict at = x + (t + k * l->dilation) * width;
      const float *restrict taps = l->weights + k * width;
      for (ptrdiff_t c = 0; c < width; c++) out[c] += at[c] * (NUMBER)taps[c];
    }
  }
}

/* x [past and steps * stride, inputs] -> out [steps, outputs], without the bias. */
static void NAME(convolve)(const layer *l, const NUMBER *x, ptrdiff_t steps, NUMBER *out) {
  if (l->dilation) {
    NAME(convolve_apart)(l, x, steps, out);
    return;
  }
  ptrdiff_t made = l->outputs / l->groups, c;
  for (ptrdiff_t g = 0; g < l->groups; g++) {
    c = 0;
    if (WIDTH == 64) /* there are registers for twice as many */
      for (; c + 2 * CHANNELS <= made; c += 2 * CHANNELS) NAME(all_rows)(l, x, g, c, steps, 2 * PARTS, out);
    for (; c < made; c += CHANNELS) NAME(all_rows)(l, x, g, c, steps, PARTS, out);
  }
}

/* `tail` and behind it the `count` new values, in `joined`; `tail` moves on. */
static inline void NAME(move_on)(NUMBER *joined, ptrdiff_t past, ptrdiff_t count, NUMBER *tail) {
  if (past == 0) return;
  memcpy(joined, tail, past * sizeof(NUMBER));
  memcpy(tail, joined + count, past * sizeof(NUMBER));
}

#undef AT_ONCE
#undef PARTS
