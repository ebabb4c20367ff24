/* weights_hash.h - by which weights a number was made: XXH3-128 of their names and values. */
#ifndef CM_METRICS_WEIGHTS_HASH_H
#define CM_METRICS_WEIGHTS_HASH_H

#include "base/context.h"

enum { CM_WEIGHTS_HASH = 33 }; /* 32 digits and the end */

typedef struct XXH3_state_s cm_weights_hash; /* of xxhash.h */

/* file: what messages call the weights. */
cm_status cmi_weights_hash_begin(const char *file, cm_weights_hash **out);
/* The next tensor, of n values.  NUMERIC, naming it, where one is NaN or infinite. */
cm_status cmi_weights_hash_add(cm_weights_hash *hash, const char *file, const char *name, const float *values,
                               size_t n);
/* Frees it, NULL too.  text: the digits, where it is not NULL. */
void cmi_weights_hash_end(cm_weights_hash *hash, char text[CM_WEIGHTS_HASH]);

#endif
