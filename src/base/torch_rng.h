/* torch_rng.h - the random stream of torch's CPU generator, replayed from its
 * seed: MT19937 and torch's two ways of making normals (algorithms 2.8). */
#ifndef CM_BASE_TORCH_RNG_H
#define CM_BASE_TORCH_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct cm_torch_rng {
    uint32_t state[624];
    int position;
    int has_cached; /* the second value of a scalar Box-Muller pair */
    double cached;
} cm_torch_rng;

void cmi_torch_seed(cm_torch_rng *rng, uint64_t seed);
/* What torch.rand, torch.randn (float32, float64) and torch.randint give. */
void cmi_torch_uniform(cm_torch_rng *rng, size_t n, float *out);
void cmi_torch_normal(cm_torch_rng *rng, size_t n, float *out);
void cmi_torch_normal64(cm_torch_rng *rng, size_t n, double *out);
int64_t cmi_torch_below(cm_torch_rng *rng, uint32_t range);

#endif
