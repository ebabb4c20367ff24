/* safetensors.h - the container of native models (networks F.5).
 *
 * 8 bytes little-endian length N, N bytes of JSON, then the data, which the
 * tensors have to tile exactly.  Everything is checked before it is used. */
#ifndef CM_IO_SAFETENSORS_H
#define CM_IO_SAFETENSORS_H

#include <jansson.h>

#include "io/write_tensors.h"

/* A header is read as it stands, token by token, so it takes its own size and at most 20 MB for its tensors and
 * metadata, whatever it holds; reading stops at the first thing over a limit. */
enum { CM_SAFETENSORS_HEADER = 100000000 };

/* Writes tensors in the order given, the header padded so that the data starts
 * at a multiple of 8.  `metadata` is an object of strings or NULL, and so is `report`. */
cm_status cmi_safetensors_write(cm_context *context, const char *path, int overwrite, const json_t *metadata,
                                const cm_tensor *tensors, size_t count, cm_write_report *report);

#endif
