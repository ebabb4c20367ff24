/* torch_write.h - a state dictionary as torch.save writes it: a zip archive that torch.load(weights_only=True) reads.
 *
 * What is not PyTorch's stands in a member of the archive that it passes over, and torch_zip.c gives back as
 * metadata. */
#ifndef CM_IO_TORCH_WRITE_H
#define CM_IO_TORCH_WRITE_H

#include <jansson.h>

#include "io/write_tensors.h"

#define CM_TORCH_ROOT "archive"
#define CM_TORCH_METADATA "consistency.json" /* in ROOT/extra: texts by key */

/* In the order given; `metadata` is an object of strings or NULL, and so is `report`.  UNSUPPORTED for types that
 * have no storage class (unsigned numbers of more than one byte). */
cm_status cmi_torch_write(cm_context *context, const char *path, int overwrite, const json_t *metadata,
                          const cm_tensor *tensors, size_t count, cm_write_report *report);

#endif
