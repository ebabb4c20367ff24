/* pickle_symbols.c - the closed list of what a pickle may name, and what each describes. */
#include <stdio.h>
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

/* (storage, offset, size, stride, requires_grad, hooks, dtype[, metadata]): the type is the tensor's, not its
 * storage's. */
static cm_status tensor_of_type(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    const cm_pickled *type = arguments->count == 7 || arguments->count == 8 ? arguments->u.items[6] : NULL;
    if (!type || type->kind != CM_PICKLED_SYMBOL || !cmi_pickle_symbol_is_dtype(type->u.symbol))
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "a tensor of _rebuild_tensor_v3 without its dtype");
    const cm_pickled first = {.kind = CM_PICKLED_TUPLE, .count = 6, .u.items = arguments->u.items};
    CM_TRY(tensor(p, &first, out));
    return cmi_pickle_append(p, *out, arguments->u.items[6]);
}

/* (tensor, requires_grad, hooks[, state]): the tensor. */
static cm_status parameter(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    if (!arguments->count || arguments->u.items[0]->kind != CM_PICKLED_TENSOR)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "a parameter without its tensor");
    *out = arguments->u.items[0];
    return CM_OK;
}

/* (function, class, its arguments, state): a tensor with attributes, which say nothing of its values. */
static cm_status tensor_with_state(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    cm_pickled *const *v = arguments->u.items;
    if (arguments->count != 4 || v[0]->kind != CM_PICKLED_SYMBOL || v[2]->kind != CM_PICKLED_TUPLE ||
        (v[0]->u.symbol->describe != tensor && v[0]->u.symbol->describe != tensor_of_type))
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "a tensor with attributes is not described by how it is made");
    return v[0]->u.symbol->describe(p, v[2], out);
}

/* A class that only stands beside values. */
static cm_status never(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    (void)arguments;
    (void)out;
    return cmi_pickle_fail(p, CM_ERR_FORMAT, "a class is called that is only known by its name");
}

/* (default[, entries]): what a dictionary gives for a missing key does not matter here. */
static cm_status default_dict(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    if (!arguments->count) return ordered_dict(p, arguments, out);
    const cm_pickled rest = {
        .kind = CM_PICKLED_TUPLE, .count = arguments->count - 1, .u.items = arguments->u.items + 1};
    return ordered_dict(p, &rest, out);
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

/* A module of PyTorch's that holds others; its attributes follow. */
static cm_status container(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    cm_pickled *class;
    (void)arguments;
    CM_TRY(cmi_pickle_make(p, CM_PICKLED_NONE, &class));
    CM_TRY(cmi_pickle_make(p, CM_PICKLED_OBJECT, out));
    return cmi_pickle_append(p, *out, class);
}

/* ({type, version, module_src, class_name, state}): a module of a class whose source text stands beside it.  Nobody
 * looks at the text. */
static cm_status persistent_object(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    enum { VERSION = 6 };
    const cm_pickled *meta = arguments->count == 1 ? arguments->u.items[0] : NULL;
    if (!meta || meta->kind != CM_PICKLED_DICT)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "a persistent object without its description");
    const cm_pickled *type = cmi_pickled_get(meta, "type"), *version = cmi_pickled_get(meta, "version");
    cm_pickled *class = cmi_pickled_get(meta, "class_name"), *state = cmi_pickled_get(meta, "state");
    if (!type || !cmi_pickled_text(type) || strcmp(cmi_pickled_text(type), "class") != 0)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "a persistent object that is not of type 'class'");
    if (!version || version->kind != CM_PICKLED_INT)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "a persistent object without a version");
    if (version->u.integer != VERSION)
        return cmi_pickle_fail(p, CM_ERR_UNSUPPORTED, "persistent objects of version %lld; version %d is known",
                               (long long)version->u.integer, VERSION);
    if (!class || !cmi_pickled_text(class))
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "a persistent object without the name of its class");
    if (state && state->kind != CM_PICKLED_DICT && state->kind != CM_PICKLED_NONE)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "a persistent object of class '%.64s' whose state is %s",
                               cmi_pickled_text(class), cmi_pickled_name(state));
    CM_TRY(cmi_pickle_make(p, CM_PICKLED_OBJECT, out));
    CM_TRY(cmi_pickle_append(p, *out, class));
    return state && state->kind == CM_PICKLED_DICT ? cmi_pickle_append(p, *out, state) : CM_OK;
}

/* (bytes of a legacy stream): the storage in it. */
static cm_status storage_of_bytes(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    if (arguments->count != 1 || arguments->u.items[0]->kind != CM_PICKLED_BYTES)
        return cmi_pickle_fail(p, CM_ERR_FORMAT, "_load_from_bytes is not given bytes");
    cm_pickled *bytes = arguments->u.items[0], *none, *key;
    char place[24];
    (void)snprintf(place, sizeof place, "%lld", (long long)bytes->u.integer); /* of the same bytes the same key */
    CM_TRY(cmi_pickle_make(p, CM_PICKLED_NONE, &none));
    CM_TRY(cmi_pickle_make_text(p, place, &key));
    CM_TRY(cmi_pickle_make(p, CM_PICKLED_STORAGE, out));
    CM_TRY(cmi_pickle_append(p, *out, bytes));
    CM_TRY(cmi_pickle_append(p, *out, none));
    CM_TRY(cmi_pickle_append(p, *out, key));
    return cmi_pickle_name_storage(p, *out);
}

/* A dictionary of a class of its own; its entries follow. */
static cm_status dictionary(cm_pickle *p, const cm_pickled *arguments, cm_pickled **out)
{
    (void)arguments;
    return cmi_pickle_make(p, CM_PICKLED_DICT, out);
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
    {"torch._utils", "_rebuild_tensor_v3", tensor_of_type, -1},
    {"torch._utils", "_rebuild_parameter", parameter, -1},
    {"torch._utils", "_rebuild_parameter_with_state", parameter, -1},
    {"torch._tensor", "_rebuild_from_type_v2", tensor_with_state, -1},
    {"torch", "Tensor", never, -1},
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
    {"torch.storage", "UntypedStorage", NULL, CM_TENSOR_U8}, /* its elements are bytes */
    {"torch", "UntypedStorage", NULL, CM_TENSOR_U8},
    /* Modules that NVlabs' code saves whole, with their tensors inside. */
    {"torch_utils.persistence", "_reconstruct_persistent_obj", persistent_object, -1},
    {"torch.storage", "_load_from_bytes", storage_of_bytes, -1},
    {"torch.nn.modules.container", "ModuleDict", container, -1},
    {"torch.nn.modules.container", "ModuleList", container, -1},
    {"torch.nn.modules.container", "Sequential", container, -1},
    {"dnnlib.util", "EasyDict", dictionary, -1},
    /* Numbers of numpy's beside the tensors: a learning rate, a loss. */
    {"numpy.core.multiarray", "scalar", opaque, -1},
    {"numpy._core.multiarray", "scalar", opaque, -1},
    {"numpy.core.multiarray", "_reconstruct", opaque, -1},
    {"numpy._core.multiarray", "_reconstruct", opaque, -1},
    {"numpy", "dtype", opaque, -1},
    {"numpy", "ndarray", opaque, -1},
    /* Settings and the states of random generators beside them; bytes as protocol 2 writes them. */
    {"_codecs", "encode", opaque, -1},
    {"torch", "device", opaque, -1},
    {"torch.serialization", "_get_layout", opaque, -1},
    {"collections", "defaultdict", default_dict, -1},
    {"collections", "Counter", opaque, -1},
    {"__builtin__", "set", opaque, -1},
    {"__builtin__", "frozenset", opaque, -1},
    {"__builtin__", "bytearray", opaque, -1},
    {"__builtin__", "complex", opaque, -1},
    {"__builtin__", "int", never, -1},
    {"__builtin__", "float", never, -1},
    {"__builtin__", "list", never, -1},
    {"__builtin__", "dict", never, -1},
    {"builtins", "set", opaque, -1},
    {"builtins", "frozenset", opaque, -1},
    {"builtins", "bytearray", opaque, -1},
    {"builtins", "complex", opaque, -1},
    {"builtins", "int", never, -1},
    {"builtins", "float", never, -1},
    {"builtins", "list", never, -1},
    {"builtins", "dict", never, -1},
    {"pathlib", "PosixPath", opaque, -1},
    {"pathlib", "WindowsPath", opaque, -1},
    {"pathlib._local", "PosixPath", opaque, -1},
    {"pathlib._local", "WindowsPath", opaque, -1},
    {"argparse", "Namespace", opaque, -1},
    {"types", "SimpleNamespace", opaque, -1},
    {"datetime", "datetime", opaque, -1},
    {"datetime", "timedelta", opaque, -1},
    /* Known and not supported. */
    {"torch", "QUInt8Storage", NULL, -1},
    {"torch", "QInt8Storage", NULL, -1},
    {"torch", "QInt32Storage", NULL, -1},
    {"torch", "QUInt4x2Storage", NULL, -1},
    {"torch", "QUInt2x4Storage", NULL, -1},
    {"torch", "ComplexFloatStorage", NULL, -1},
    {"torch", "ComplexDoubleStorage", NULL, -1},
    {"torch._utils", "_rebuild_sparse_tensor", NULL, -1},
    {"torch._utils", "_rebuild_qtensor", NULL, -1},
    {"torch._utils", "_rebuild_meta_tensor_no_storage", NULL, -1},
};

/* torch.dtype: of a tensor of _rebuild_tensor_v3, or a setting beside the tensors. */
static const cm_pickle_symbol dtypes[] = {
    {"torch", "float32", NULL, CM_TENSOR_F32},
    {"torch", "float16", NULL, CM_TENSOR_F16},
    {"torch", "bfloat16", NULL, CM_TENSOR_BF16},
    {"torch", "float64", NULL, CM_TENSOR_F64},
    {"torch", "int64", NULL, CM_TENSOR_I64},
    {"torch", "int32", NULL, CM_TENSOR_I32},
    {"torch", "int16", NULL, CM_TENSOR_I16},
    {"torch", "int8", NULL, CM_TENSOR_I8},
    {"torch", "uint64", NULL, CM_TENSOR_U64},
    {"torch", "uint32", NULL, CM_TENSOR_U32},
    {"torch", "uint16", NULL, CM_TENSOR_U16},
    {"torch", "uint8", NULL, CM_TENSOR_U8},
    {"torch", "bool", NULL, CM_TENSOR_BOOL},
    {"torch", "complex32", NULL, -1},
    {"torch", "complex64", NULL, -1},
    {"torch", "complex128", NULL, -1},
    {"torch", "float8_e4m3fn", NULL, -1},
    {"torch", "float8_e4m3fnuz", NULL, -1},
    {"torch", "float8_e5m2", NULL, -1},
    {"torch", "float8_e5m2fnuz", NULL, -1},
    {"torch", "float8_e8m0fnu", NULL, -1},
    {"torch", "float4_e2m1fn_x2", NULL, -1},
};

static const cm_pickle_symbol *find(const cm_pickle_symbol *list, size_t n, const char *module, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].module, module) == 0 && strcmp(list[i].name, name) == 0) return &list[i];
    return NULL;
}

const cm_pickle_symbol *cmi_pickle_symbol_find(const char *module, const char *name)
{
    const cm_pickle_symbol *s = find(symbols, sizeof symbols / sizeof *symbols, module, name);
    return s ? s : find(dtypes, sizeof dtypes / sizeof *dtypes, module, name);
}

int cmi_pickle_symbol_is_dtype(const cm_pickle_symbol *symbol)
{
    return find(dtypes, sizeof dtypes / sizeof *dtypes, symbol->module, symbol->name) == symbol;
}
