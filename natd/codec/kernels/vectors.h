/* Vectors as wide as the processor has them, and the functions that tokenizers apply to each of their elements.

   Built with FMA and contraction, every width gives the same bits: what happens to one element, and in which order, is
   written here and does not depend on its neighbours. The polynomials were fitted for float32. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of a register; wider vectors the compiler would keep in memory. */
#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
#define LANES (WIDTH / 4)
typedef float vec __attribute__((vector_size(WIDTH)));
typedef float vec_at __attribute__((vector_size(WIDTH), aligned(4))); /* in memory, anywhere */
typedef int32_t ivec __attribute__((vector_size(WIDTH)));

static inline vec spread(float x) {
#if WIDTH == 64
  return (vec){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif WIDTH == 32
  return (vec){x, x, x, x, x, x, x, x};
#else
  return (vec){x, x, x, x};
#endif
}
static inline vec load(const float *at) { return *(const vec_at *)at; }
static inline void store(float *at, vec x) { *(vec_at *)at = x; }
/* The first `count` of a vector; the rest is zero, or stays. */
static inline vec load_some(const float *at, ptrdiff_t count) {
  float some[LANES] = {0};
  if (count >= LANES) return load(at);
  memcpy(some, at, count * sizeof(float));
  return load(some);
}
static inline void store_some(float *at, vec x, ptrdiff_t count) {
  if (count >= LANES)
    store(at, x);
  else
    memcpy(at, &x, count * sizeof(float));
}
static inline vec choose(ivec where, vec yes, vec no) { return (vec)((where & (ivec)yes) | (~where & (ivec)no)); }
static inline vec least(vec a, vec b) { return choose(a < b, a, b); }
static inline vec most(vec a, vec b) { return choose(a > b, a, b); }

/* c[0] + c[1] x + ... + c[degree] x^degree */
static inline vec polynomial(const float *c, int degree, vec x) {
  vec y = spread(c[degree]);
  for (int i = degree - 1; i >= 0; i--) y = y * x + spread(c[i]);
  return y;
}

/* e^x of -87..88, beyond that of the end: 2^n times a polynomial over half an octave. */
static inline vec exponential(vec x) {
  static const float rest[] = {0.5f, 0.16666576f, 0.041666374f, 0.0083631752f, 0.0013941110f};
  const vec whole = spread(12582912.0f); /* 1.5 * 2^23: nothing behind the point stays */
  x = most(least(x, spread(88.0f)), spread(-87.0f));
  vec n = (x * spread(1.44269504f) + whole) - whole;
  vec r = (x - n * spread(0.693359375f)) - n * spread(-2.12194440e-4f); /* ln 2 in two parts */
  vec y = polynomial(rest, 4, r) * (r * r) + r + spread(1.0f);
  return y * (vec)((__builtin_convertvector(n, ivec) + 127) << 23);
}

static inline vec elu(vec x) {
  return choose(x > spread(0.0f), x, exponential(least(x, spread(0.0f))) - spread(1.0f));
}

static inline vec sigmoid(vec x) { return spread(1.0f) / (spread(1.0f) + exponential(-x)); }

static inline vec hyperbolic_tangent(vec x) { return spread(1.0f) - spread(2.0f) / (exponential(x + x) + spread(1.0f)); }

/* x times the share of a normal distribution below x (Hendrycks and Gimpel, 2016), without the approximation. */
static inline vec gelu(vec x) {
  static const float inner[] = {1.1283791f, -0.37612626f, 0.112836003f, -0.026854444f, 0.0051895352f, -8.020841e-4f,
                                7.8891193e-5f}; /* erf(z) / z over z^2, to 1 */
  static const float outer[] = {-2.9427421e-4f, 1.1301315f, 0.63199532f, 0.10992518f, -0.026335537f, 0.0047302814f,
                                -5.9071515e-4f, 4.5354573e-5f, -1.6024898e-6f}; /* -log(1 - erf(z)), 0.9 to 4 */
  vec z = x * spread(0.70710678f), far = least(most(z, -z), spread(4.0f));
  vec near = spread(0.5f) + spread(0.5f) * (z * polynomial(inner, 6, least(z * z, spread(1.0f))));
  vec tail = spread(0.5f) * exponential(-polynomial(outer, 8, far));
  tail = choose(far >= spread(4.0f), spread(0.0f), tail); /* 8e-9 and less */
  vec share = choose(far <= spread(1.0f), near, choose(z < spread(0.0f), tail, spread(1.0f) - tail));
  return x * share;
}

/* x as it is, or by an activation of `Linear`, in the order of its names. */
static inline vec activated(vec x, int which) {
  switch (which) {
    case 1: return most(x, spread(0.0f));
    case 2: return gelu(x);
    case 3: return elu(x);
    default: return x;
  }
}
