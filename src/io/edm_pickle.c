/* edm_pickle.c - a plain pickle, as NVlabs' EDM and the programs made of it write their snapshots: modules with their
 * source text and their attributes, each storage as the bytes of a legacy stream. */
#include "io/torch.h"

static cm_status open_tensors(cm_tensors *t)
{
    cm_torch *torch;
    cm_pickled *top;
    const unsigned char *held;
    size_t after, size = t->input.size;
    CM_TRY(cmi_torch_begin(t, size, &torch));
    torch->nested = 1;
    CM_TRY(cmi_pickle_run(torch->pickle, "the pickle", 0, size, &top, &after));
    if (after != size) CM_FAIL(CM_ERR_FORMAT, "%s: %zu bytes behind the pickle", t->input.name, size - after);
    CM_TRY(cmi_torch_collect(t));
    CM_TRY(cmi_input_hold(&t->input, 0, &held));
    return cmi_torch_list(t, top);
}

/* Protocols 2 to 5 begin so; what is no snapshot is told as what it is when it is read. */
static int recognise(const cm_input *input, const unsigned char *first, size_t n)
{
    (void)input;
    return n >= 2 && first[0] == 0x80 && first[1] >= 2 && first[1] <= 5 && !cmi_torch_is_stream(first, n);
}

const cm_tensor_format cmi_format_edm_pickle = {.name = "EDM pickle",
                                                .recognise = recognise,
                                                .open = open_tensors,
                                                .read = cmi_torch_read,
                                                .close = cmi_torch_close,
                                                .forget = cmi_torch_forget,
                                                .has_sets = 1};
