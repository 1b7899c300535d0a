#include "chain.h"

#define NUMBER float
#define NAME(x) float_##x
#include "chain_body.h"
#undef NUMBER
#undef NAME

#define NUMBER double
#define NAME(x) double_##x
#include "chain_body.h"

#define REAL float
#define RUN(x) float_##x
#define CHAIN natd_chain_float
#include "chain_run.h"
#undef REAL
#undef RUN
#undef CHAIN

#define REAL double
#define RUN(x) double_##x
#define CHAIN natd_chain_double
#include "chain_run.h"
