/* A frame through a chain whose real numbers are REAL; its 8-bit ones are whole floats, exact below 2^24. */

static inline ptrdiff_t RUN(index)(REAL x, quantization to) {
  REAL scaled = x / (REAL)to.scale;
  REAL q = (scaled < 0 ? __builtin_ceil(scaled - (REAL)0.5) : __builtin_floor(scaled + (REAL)0.5)) + (REAL)(to.zero + 128);
  return !(q > 0) ? 0 : q > 255 ? 255 : (ptrdiff_t)q; /* of what is no number too */
}

static inline REAL RUN(leaky)(REAL x, double slope) { return x > 0 ? x : x * (REAL)slope; }

/* What an 8-bit convolution takes, of real numbers or of 8-bit ones. */
static void RUN(enter)(const layer *l, double slope, const REAL *x, const uint8_t *index, ptrdiff_t count, float *to) {
  for (ptrdiff_t i = 0; i < count; i++) {
    if (l->table)
      to[i] = l->table[index ? index[i] : RUN(index)(x[i], l->act)];
    else
      to[i] = (float)((index ? index[i] : RUN(index)(l->leaky ? RUN(leaky)(x[i], slope) : x[i], l->given)) - 128 -
                      l->given.zero);
  }
}

/* Adds what a residual unit began with, `kept` or `kept_index`, to what it made; -> whether that is an index. */
static int RUN(added)(const layer *l, ptrdiff_t count, REAL *real, uint8_t *index, const REAL *kept,
                      const uint8_t *kept_index) {
  for (ptrdiff_t i = 0; i < count; i++) {
    if (l->sum == TABLE_SUM)
      index[i] = (uint8_t)l->sums[index[i] * 256 + kept_index[i]];
    else if (l->sum == ROUNDED_SUM)
      index[i] = (uint8_t)RUN(index)((REAL)made_real(index[i], l->added) + kept[i], l->total);
    else
      real[i] += kept[i];
  }
  return l->sum != REAL_SUM;
}

/* Samples [batch, samples] -> the last signal [batch, out] as floats. `tails` holds per layer its past [batch, context,
   inputs], REAL or, of 8-bit layers, float, which moves on. `room` holds five of the widest signals. */
void CHAIN(const chain *c, const float *samples, ptrdiff_t batch, void *const *tails, float *out, double *room) {
  REAL *real = (REAL *)room, *joined = real + c->widest, *kept = joined + c->widest;
  float *whole = (float *)(room + 3 * c->widest), *sums = whole + c->widest;
  uint8_t *index = (uint8_t *)(sums + c->widest), *kept_index = index + c->widest;
  for (ptrdiff_t b = 0; b < batch; b++) {
    ptrdiff_t steps = c->samples, count = steps;
    int is_index = 0;
    for (ptrdiff_t i = 0; i < steps; i++) real[i] = (REAL)samples[b * steps + i];
    for (const layer *l = c->layers; l < c->layers + c->count; l++) {
      ptrdiff_t past = context_of(l) * l->inputs;
      void *tail = (char *)tails[l - c->layers] + b * past * (l->whole ? sizeof(float) : sizeof(REAL));
      if (l->begins && is_index) memcpy(kept_index, index, count);
      if (l->begins && !is_index) memcpy(kept, real, count * sizeof(REAL));
      steps /= l->dilation ? 1 : l->stride;
      if (l->whole) {
        RUN(enter)(l, c->slope, real, is_index ? index : NULL, count, whole + past);
        float_move_on(whole, past, count, tail);
        float_convolve(l, whole, steps, sums);
        count = steps * l->outputs;
        for (ptrdiff_t t = 0; t < steps; t++) rounded(l, sums + t * l->outputs, index + t * l->outputs);
        is_index = 1;
      } else {
        for (ptrdiff_t i = 0; i < count; i++) joined[past + i] = l->leaky ? RUN(leaky)(real[i], c->slope) : real[i];
        RUN(move_on)(joined, past, count, tail);
        RUN(convolve)(l, joined, steps, real);
        count = steps * l->outputs;
        for (ptrdiff_t t = 0; t < steps; t++)
          for (ptrdiff_t o = 0; o < l->outputs; o++) real[t * l->outputs + o] += (REAL)l->bias[o];
        is_index = 0;
      }
      if (l->sum != NO_SUM) is_index = RUN(added)(l, count, real, index, kept, kept_index);
    }
    for (ptrdiff_t i = 0; i < count; i++)
      out[b * count + i] = is_index ? made_real(index[i], c->out) : (float)real[i];
  }
}
