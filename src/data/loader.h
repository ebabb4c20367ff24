/* loader.h - the next batch is read in a thread while the present one is used. */
#ifndef CM_DATA_LOADER_H
#define CM_DATA_LOADER_H

#include "base/call.h"
#include "data/dataset.h"

typedef struct cm_loader cm_loader;

/* Begins to read `count` batches of `batch` images, the first from `position` on, each `apart` images behind the one
 * before; the data set, whose call the caller has begun, is the loader's until it is freed.  Nothing is read behind
 * the last batch, so no failure is lost there.  A request to stop `call` ends the reading, and so the waiting, after
 * the picture at hand. */
cm_status cmi_loader_create(cm_dataset *dataset, uint64_t position, size_t batch, size_t apart, int64_t count,
                            const cm_call *call, cm_loader **out);
void cmi_loader_free(cm_loader *loader);
/* The batch in turn, good until the next call, at most `count` times; *waited: seconds that took. */
cm_status cmi_loader_next(cm_loader *loader, const float **images, const int32_t **labels, double *waited);

#endif
