/* pickle_symbols.c - the closed list of what a pickle may name, and what each describes. */
#include <string.h>

#include "io/pickle.h"

/* () or (a list or tuple of pairs). */
static cm_status ordered_dict(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    CM_TRY(cmi_pickle_make(p, CM_PICKLED_DICT, out));
    if (!arguments->count) return CM_OK;
    const cm_pickled *pairs = arguments->u.items[0];
    if (arguments->count != 1 || (pairs->kind != CM_PICKLED_LIST && pairs->kind != CM_PICKLED_TUPLE))
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "OrderedDict is not given a list of pairs");
    for (uint32_t i = 0; i < pairs->count; i++) {
        const cm_pickled *pair = pairs->u.items[i];
        if ((pair->kind != CM_PICKLED_LIST && pair->kind != CM_PICKLED_TUPLE) || pair->count != 2)
            return cmi_pickle_fail(p, CM_ERR_FORMAT, "OrderedDict is given an entry that is no pair");
        for (int j = 0; j < 2; j++) CM_TRY(cmi_pickle_append(p, *out, pair->u.items[j]));
    }
    return CM_OK;
}

/* (storage, offset, size, stride[, requires_grad, hooks[, metadata]]) */
static cm_status tensor(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    if (arguments->count < 4 || arguments->count > 7 || arguments->u.items[0]->kind != CM_PICKLED_STORAGE ||
        arguments->u.items[1]->kind != CM_PICKLED_INT || arguments->u.items[2]->kind != CM_PICKLED_TUPLE ||
        arguments->u.items[3]->kind != CM_PICKLED_TUPLE)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "a tensor is not described by storage, offset, size and stride");
    CM_TRY(cmi_pickle_make(p, CM_PICKLED_TENSOR, out));
    for (uint32_t i = 0; i < 4; i++) CM_TRY(cmi_pickle_append(p, *out, arguments->u.items[i]));
    return CM_OK;
}

/* (tensor, requires_grad, hooks): the tensor. */
static cm_status parameter(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    if (!arguments->count || arguments->u.items[0]->kind != CM_PICKLED_TENSOR)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "a parameter without its tensor");
    *out = arguments->u.items[0];
    return CM_OK;
}

/* A list or tuple as a tuple. */
static cm_status size(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    const cm_pickled *from = arguments->count == 1 ? arguments->u.items[0] : NULL;
    if (!from || (from->kind != CM_PICKLED_TUPLE && from->kind != CM_PICKLED_LIST))
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "torch.Size is not given a tuple");
    CM_TRY(cmi_pickle_make(p, CM_PICKLED_TUPLE, out));
    for (uint32_t i = 0; i < from->count; i++) CM_TRY(cmi_pickle_append(p, *out, from->u.items[i]));
    return CM_OK;
}

static cm_status opaque(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    (void)arguments;
    return cmi_pickle_make(p, CM_PICKLED_OPAQUE, out);
}

static const cm_pickle_symbol symbols[] = {
    {"collections", "OrderedDict", ordered_dict, -1},
    {"torch._utils", "_rebuild_tensor_v2", tensor, -1},
    {"torch._utils", "_rebuild_tensor", tensor, -1},
    {"torch._utils", "_rebuild_parameter", parameter, -1},
    {"torch", "Size", size, -1},
    {"torch", "FloatStorage", NULL, CM_TENSOR_F32},
    {"torch", "HalfStorage", NULL, CM_TENSOR_F16},
    {"torch", "BFloat16Storage", NULL, CM_TENSOR_BF16},
    {"torch", "DoubleStorage", NULL, CM_TENSOR_F64},
    {"torch", "LongStorage", NULL, CM_TENSOR_I64},
    {"torch", "IntStorage", NULL, CM_TENSOR_I32},
    {"torch", "ShortStorage", NULL, CM_TENSOR_I16},
    {"torch", "CharStorage", NULL, CM_TENSOR_I8},
    {"torch", "ByteStorage", NULL, CM_TENSOR_U8},
    {"torch", "BoolStorage", NULL, CM_TENSOR_BOOL},
    /* Numbers of numpy's beside the tensors: a learning rate, a loss. */
    {"numpy.core.multiarray", "scalar", opaque, -1},
    {"numpy._core.multiarray", "scalar", opaque, -1},
    {"numpy.core.multiarray", "_reconstruct", opaque, -1},
    {"numpy._core.multiarray", "_reconstruct", opaque, -1},
    {"numpy", "dtype", opaque, -1},
    {"numpy", "ndarray", opaque, -1},
    /* Known and not supported. */
    {"torch", "QUInt8Storage", NULL, -1},
    {"torch", "QInt8Storage", NULL, -1},
    {"torch", "QInt32Storage", NULL, -1},
    {"torch", "QUInt4x2Storage", NULL, -1},
    {"torch", "QUInt2x4Storage", NULL, -1},
    {"torch", "ComplexFloatStorage", NULL, -1},
    {"torch", "ComplexDoubleStorage", NULL, -1},
    {"torch.storage", "UntypedStorage", NULL, -1},
    {"torch", "UntypedStorage", NULL, -1},
    {"torch._utils", "_rebuild_tensor_v3", NULL, -1},
    {"torch._utils", "_rebuild_sparse_tensor", NULL, -1},
    {"torch._utils", "_rebuild_qtensor", NULL, -1},
    {"torch._utils", "_rebuild_meta_tensor_no_storage", NULL, -1},
};

const cm_pickle_symbol *cmi_pickle_symbol_find(const char *module, const char *name)
{
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        if (strcmp(symbols[i].module, module) == 0 && strcmp(symbols[i].name, name) == 0) return &symbols[i];
    return NULL;
}
