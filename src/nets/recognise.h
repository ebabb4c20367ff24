/* recognise.h - which network a file without a configuration holds, from what its tensors are called and their
 * shapes. */
#ifndef CM_NETS_RECOGNISE_H
#define CM_NETS_RECOGNISE_H

#include <jansson.h>

#include "io/tensors.h"

/* What a family makes of a file.  `network` stays NULL where the tensors are not its. */
typedef struct cm_recognised {
    json_t *network, *precond; /* as in the metadata of a native file                        */
    const json_t *given;       /* arguments that the caller names and that go before; or NULL */
    char assumed[256];         /* what no tensor tells and the published models have, in words */
} cm_recognised;

/* Of each family that has one (cm_net_family.recognise). */
cm_status cmi_adm_recognise(const cm_tensors *file, cm_recognised *out);
cm_status cmi_songunet_recognise(const cm_tensors *file, cm_recognised *out);
cm_status cmi_dhariwal_recognise(const cm_tensors *file, cm_recognised *out);
cm_status cmi_edm2_recognise(const cm_tensors *file, cm_recognised *out);

/* What the network of a file is that this library does not have, in words; NULL: none that is known. */
const char *cmi_absent_network(const cm_tensors *file);
/* Whether the tensors have the names of diffusers' UNet2DModel: one of the files of such a folder. */
int cmi_is_part_of_diffusers(const cm_tensors *file);

/* Adds "network" and "precond" to a configuration that lacks them, where a family recognises the file (a "network"
 * without its type is one of single arguments, which go before those that were recognised); what the file
 * was to "training" and its published noise levels to "sampling", where those are free.  What was assumed is a
 * warning of the context.  UNSUPPORTED where the format says that the network is one that this library does not have.
 */
cm_status cmi_recognise(const cm_tensors *file, json_t *config);

#endif
