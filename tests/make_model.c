/* make_model.c NETWORK_JSON PRECOND_JSON HEIGHT WIDTH FILE - writes a native
 * model with weights by formula (support/fill.h): any size, for timings. */
#include <stdio.h>
#include <stdlib.h>

#include "support/fill.h"

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: make_model NETWORK_JSON PRECOND_JSON HEIGHT WIDTH FILE\n");
        return 2;
    }
    json_t *network = json_loads(argv[1], 0, NULL), *precond = json_loads(argv[2], 0, NULL);
    cm_model *m = fill_model(NULL, network, precond, atoi(argv[3]), atoi(argv[4]), 0, FILL_HASH, 7);
    cm_status status = m ? fill_model_write(m, network, precond, argv[5]) : CM_ERR_INTERNAL;
    if (status != CM_OK) fprintf(stderr, "make_model: %s\n", cm_last_message());
    fill_model_free(m);
    json_decref(network);
    json_decref(precond);
    return status != CM_OK;
}
