/* What a pickle may name: every symbol with what a call of it describes, and how each is called in a wrong way. */
#include "support/pickled.h"

#define ID(class, key, rest) "(X\7\0\0\0storage" class key rest "tQ"
#define FLOATS "ctorch\nFloatStorage\n"
#define STORAGE ID(FLOATS, "U\0010", "U\3cpuK\6")

START_TEST(storages)
{
    GIVES(STORAGE ".", "storage('storage' torch FloatStorage '0' 'cpu' 6)");
    GIVES(ID(FLOATS, "U\0010", "NK\6N") ".", "storage('storage' torch FloatStorage '0' None 6 None)");
    GIVES(ID("ctorch.storage\nUntypedStorage\n", "U\00212", "NK\0") ".",
          "storage('storage' torch.storage UntypedStorage '12' None 0)");
    GIVES(ID(FLOATS, "U\02401234567890123456789", "NK\1") ".",
          "storage('storage' torch FloatStorage '01234567890123456789' None 1)");
    GIVES(ID("ctorch\nBoolStorage\n", "U\0010", "NK\1") ".", "storage('storage' torch BoolStorage '0' None 1)");
    REFUSED(ID(FLOATS, "U\025012345678901234567890", "NK\1") ".",
            "storage key '012345678901234567890' is not a decimal number");
    REFUSED(ID(FLOATS, "U\0", "NK\1") ".", "storage key '' is not a decimal number");
    REFUSED(ID(FLOATS, "U\0021a", "NK\1") ".", "storage key '1a' is not a decimal number");
    REFUSED(ID(FLOATS, "K\1", "NK\1") ".", "storage key '' is not a decimal number");
    REFUSED(ID(FLOATS, "U\0010", "NN") ".", "storage '0': its number of elements is not a number");
    REFUSED(ID(FLOATS, "U\0010", "N\212\1\377") ".", "storage '0': its number of elements is not a number");
    REFUSED(ID(FLOATS, "U\0010", "N") ".", "BINPERSID: not the five or six parts of a storage");
    REFUSED(ID(FLOATS, "U\0010", "NK\6NN") ".", "BINPERSID: not the five or six parts of a storage");
    REFUSED("NQ.", "BINPERSID: not the five or six parts");
    REFUSED(")Q.", "BINPERSID: not the five or six parts");
    REFUSED("](X\7\0\0\0storage" FLOATS "U\0010NK\6eQ.", "BINPERSID: not the five or six parts");
    REFUSED("(K\1" FLOATS "U\0010NK\6tQ.", "BINPERSID: not the five or six parts");
    REFUSED("(U\6module" FLOATS "U\0010NK\6tQ.", "BINPERSID: a module with its source text");
    REFUSED("(U\6stored" FLOATS "U\0010NK\6tQ.", "BINPERSID: not a storage of a known class");
    REFUSED(ID("N", "U\0010", "NK\6") ".", "BINPERSID: not a storage of a known class");
    REFUSED(ID("ctorch\nSize\n", "U\0010", "NK\6") ".", "BINPERSID: not a storage of a known class");
    REFUSED(ID("ctorch\nfloat32\n", "U\0010", "NK\6") ".", "BINPERSID: not a storage of a known class");
    /* They are listed as they come, also the same again, and those of several pickles. */
    static const char two[] = "(" STORAGE ID(FLOATS, "U\0011", "NK\1") STORAGE "t.";
    machine m;
    make_machine(&m, two, sizeof two - 1);
    cm_pickled *v;
    size_t after, n;
    for (size_t k = 1; k <= 2; k++) {
        OK(cmi_pickle_run(m.p, "it", BEFORE, BEFORE + sizeof two - 1, &v, &after));
        cm_pickled *const *list = cmi_pickle_storages(m.p, &n);
        ck_assert_uint_eq(n, 3 * k);
        for (size_t i = 0; i < n; i++)
            ck_assert_str_eq(cmi_pickled_text(list[i]->u.items[2]), i % 3 == 1 ? "1" : "0");
    }
    end_machine(&m);
}
END_TEST

/* --- symbols ------------------------------------------------------------------------------------------ */

#define PAIR "K\1K\2\206"
#define CALL(symbol, arguments) "c" symbol "\n" arguments "R."
#define ORDERED "collections\nOrderedDict"
#define TENSOR(rest) CALL("torch._utils\n_rebuild_tensor_v2", "(" STORAGE rest "t")
#define S0 "storage('storage' torch FloatStorage '0' 'cpu' 6)"

START_TEST(dictionaries)
{
    GIVES(CALL(ORDERED, ")"), "{}");
    GIVES(CALL(ORDERED, "]\205"), "{}");
    GIVES(CALL(ORDERED, "](" PAIR "K\3K\4\206e\205"), "{1:2 3:4}");
    GIVES(CALL(ORDERED, "(" PAIR "K\3K\4\206t\205"), "{1:2 3:4}");
    GIVES(CALL(ORDERED, "]](K\1K\2ea\205"), "{1:2}"); /* a pair is a list, as protocol 2 has it */
    REFUSED(CALL(ORDERED, "N\205"), "OrderedDict is not given a list of pairs");
    REFUSED(CALL(ORDERED, "}\205"), "OrderedDict is not given a list of pairs");
    REFUSED(CALL(ORDERED, "]]\206"), "OrderedDict is not given a list of pairs");
    REFUSED(CALL(ORDERED, "]Na\205"), "OrderedDict is given an entry that is no pair");
    REFUSED(CALL(ORDERED, "]N\205a\205"), "OrderedDict is given an entry that is no pair");
    REFUSED(CALL(ORDERED, "]NNN\207a\205"), "OrderedDict is given an entry that is no pair");
    REFUSED(CALL(ORDERED, "]](NNNea\205"), "OrderedDict is given an entry that is no pair");
    REFUSED(CALL(ORDERED, "]" PAIR "aNa\205"), "OrderedDict is given an entry that is no pair");
    GIVES(CALL("collections\ndefaultdict", ")"), "{}");
    GIVES(CALL("collections\ndefaultdict", "cbuiltins\nlist\n\205"), "{}");
    GIVES(CALL("collections\ndefaultdict", "N]" PAIR "a\206"), "{1:2}");
    REFUSED(CALL("collections\ndefaultdict", "NN\206"), "OrderedDict is not given a list");
    REFUSED(CALL("collections\ndefaultdict", "N]]\207"), "OrderedDict is not given a list");
    GIVES(CALL("dnnlib.util\nEasyDict", ")"), "{}");
    GIVES(CALL("torch\nSize", "(K\1K\2t\205"), "(1 2)");
    GIVES(CALL("torch\nSize", "](K\1K\2e\205"), "(1 2)");
    GIVES(CALL("torch\nSize", ")\205"), "()");
    REFUSED(CALL("torch\nSize", ")"), "torch.Size is not given a tuple");
    REFUSED(CALL("torch\nSize", "K\1\205"), "torch.Size is not given a tuple");
    REFUSED(CALL("torch\nSize", "))\206"), "torch.Size is not given a tuple");
}
END_TEST

START_TEST(tensors)
{
#define VIEW "K\1K\2\205K\3\205"
#define OF_VIEW "1 (2) (3)"
    GIVES(TENSOR(VIEW), "tensor(" S0 " " OF_VIEW ")");
    GIVES(TENSOR(VIEW "\211"), "tensor(" S0 " " OF_VIEW ")");
    GIVES(TENSOR(VIEW "\211}N"), "tensor(" S0 " " OF_VIEW ")");
    GIVES(CALL("torch._utils\n_rebuild_tensor", "(" STORAGE VIEW "t"), "tensor(" S0 " " OF_VIEW ")");
#define BAD_TENSOR "a tensor is not described by storage, offset, size and stride"
    REFUSED(TENSOR("K\1K\2\205"), BAD_TENSOR);
    REFUSED(TENSOR(VIEW "\211}NN"), BAD_TENSOR);
    REFUSED(TENSOR("NK\2\205K\3\205"), BAD_TENSOR);
    REFUSED(TENSOR("K\1K\2K\3\205"), BAD_TENSOR);
    REFUSED(TENSOR("K\1K\2\205K\3"), BAD_TENSOR);
    REFUSED(TENSOR("K\1]K\3\205"), BAD_TENSOR);
    REFUSED(CALL("torch._utils\n_rebuild_tensor_v2", "(N" VIEW "t"), BAD_TENSOR);
#define V3(rest) CALL("torch._utils\n_rebuild_tensor_v3", "(" STORAGE VIEW "\211}" rest "t")
    GIVES(V3("ctorch\nint16\n"), "tensor(" S0 " " OF_VIEW " torch int16)");
    GIVES(V3("ctorch\nint16\nN"), "tensor(" S0 " " OF_VIEW " torch int16)");
#define NO_DTYPE "a tensor of _rebuild_tensor_v3 without its dtype"
    REFUSED(V3(""), NO_DTYPE);
    REFUSED(V3("N"), NO_DTYPE);
    REFUSED(V3("ctorch\nint16\nNN"), NO_DTYPE);
    REFUSED(V3("ctorch\nIntStorage\n"), NO_DTYPE);
    REFUSED(V3("ctorch\nSize\n"), NO_DTYPE);
    REFUSED(CALL("torch._utils\n_rebuild_tensor_v3", "(N" VIEW "\211}ctorch\nint16\nt"), BAD_TENSOR);
#define WHOLE "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE VIEW "tR"
    GIVES(CALL("torch._utils\n_rebuild_parameter", WHOLE "\205"), "tensor(" S0 " " OF_VIEW ")");
    GIVES(CALL("torch._utils\n_rebuild_parameter", "(" WHOLE "\210}t"), "tensor(" S0 " " OF_VIEW ")");
    GIVES(CALL("torch._utils\n_rebuild_parameter_with_state", "(" WHOLE "\210}}t"), "tensor(" S0 " " OF_VIEW ")");
    REFUSED(CALL("torch._utils\n_rebuild_parameter", ")"), "a parameter without its tensor");
    REFUSED(CALL("torch._utils\n_rebuild_parameter", "N\205"), "a parameter without its tensor");
#define FROM_TYPE(rest) CALL("torch._tensor\n_rebuild_from_type_v2", "(" rest "t")
    GIVES(FROM_TYPE("ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n(" STORAGE VIEW "t}"),
          "tensor(" S0 " " OF_VIEW ")");
    GIVES(FROM_TYPE("ctorch._utils\n_rebuild_tensor_v3\nctorch\nTensor\n(" STORAGE VIEW "\211}ctorch\nint8\nt}"),
          "tensor(" S0 " " OF_VIEW " torch int8)");
#define NOT_MADE "a tensor with attributes is not described by how it is made"
    REFUSED(FROM_TYPE("ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n(" STORAGE VIEW "t"), NOT_MADE);
    REFUSED(FROM_TYPE("ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n(" STORAGE VIEW "t}N"), NOT_MADE);
    REFUSED(FROM_TYPE("ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\nN}"), NOT_MADE);
    REFUSED(FROM_TYPE("Nctorch\nTensor\n)}"), NOT_MADE);
    REFUSED(FROM_TYPE("ctorch\nSize\nctorch\nTensor\n)\205}"), NOT_MADE);
    REFUSED(FROM_TYPE(")ctorch\nTensor\n)}"), NOT_MADE);
}
END_TEST

#define TYPE "U\4typeU\5class"
#define VERSION "U\7versionK\6"
#define CLASS "U\12class_nameU\3Net"
#define OBJECT(entries) CALL("torch_utils.persistence\n_reconstruct_persistent_obj", "}(" entries "u\205")

START_TEST(objects)
{
    GIVES(OBJECT(TYPE VERSION CLASS), "object('Net')");
    GIVES(OBJECT(TYPE VERSION CLASS "U\5stateN"), "object('Net')");
    GIVES(OBJECT(TYPE VERSION CLASS "U\5state}K\1K\2s"), "object('Net' {1:2})");
    GIVES(OBJECT("K\1K\1" CLASS VERSION TYPE "U\5state}"), "object('Net' {})");
#define PERSISTENT "torch_utils.persistence\n_reconstruct_persistent_obj"
    REFUSED(CALL(PERSISTENT, ")"), "a persistent object without its description");
    REFUSED(CALL(PERSISTENT, "N\205"), "a persistent object without its description");
    REFUSED(CALL(PERSISTENT, "}}\206"), "a persistent object without its description");
    REFUSED(OBJECT(VERSION CLASS), "a persistent object that is not of type 'class'");
    REFUSED(OBJECT("U\4typeK\1" VERSION CLASS), "a persistent object that is not of type 'class'");
    REFUSED(OBJECT("U\4typeU\4func" VERSION CLASS), "a persistent object that is not of type 'class'");
    REFUSED(OBJECT(TYPE CLASS), "a persistent object without a version");
    REFUSED(OBJECT(TYPE "U\7versionU\0016" CLASS), "a persistent object without a version");
    NOT_SUPPORTED(OBJECT(TYPE "U\7versionK\5" CLASS), "persistent objects of version 5; version 6 is known");
    NOT_SUPPORTED(OBJECT(TYPE "U\7versionK\7" CLASS), "persistent objects of version 7; version 6 is known");
    REFUSED(OBJECT(TYPE VERSION), "a persistent object without the name of its class");
    REFUSED(OBJECT(TYPE VERSION "U\12class_nameN"), "a persistent object without the name of its class");
    REFUSED(OBJECT(TYPE VERSION CLASS "U\5state]"), "a persistent object of class 'Net' whose state is a list");
    GIVES(CALL("torch.storage\n_load_from_bytes", "C\3abc\205"), "storage(bytes[3]@39 None '39')");
    REFUSED(CALL("torch.storage\n_load_from_bytes", ")"), "_load_from_bytes is not given bytes");
    REFUSED(CALL("torch.storage\n_load_from_bytes", "U\1a\205"), "_load_from_bytes is not given bytes");
    REFUSED(CALL("torch.storage\n_load_from_bytes", "C\1aN\206"), "_load_from_bytes is not given bytes");
}
END_TEST

/* What each may be without a call, and what becomes of a call. */
START_TEST(closed_list)
{
    static const struct {
        const char *name;
        cm_tensor_type type;
    } types[] = {{"torch FloatStorage", CM_TENSOR_F32},
                 {"torch HalfStorage", CM_TENSOR_F16},
                 {"torch BFloat16Storage", CM_TENSOR_BF16},
                 {"torch DoubleStorage", CM_TENSOR_F64},
                 {"torch LongStorage", CM_TENSOR_I64},
                 {"torch IntStorage", CM_TENSOR_I32},
                 {"torch ShortStorage", CM_TENSOR_I16},
                 {"torch CharStorage", CM_TENSOR_I8},
                 {"torch ByteStorage", CM_TENSOR_U8},
                 {"torch BoolStorage", CM_TENSOR_BOOL},
                 {"torch.storage UntypedStorage", CM_TENSOR_U8},
                 {"torch UntypedStorage", CM_TENSOR_U8},
                 /* from here on dtypes */
                 {"torch float32", CM_TENSOR_F32},
                 {"torch float16", CM_TENSOR_F16},
                 {"torch bfloat16", CM_TENSOR_BF16},
                 {"torch float64", CM_TENSOR_F64},
                 {"torch int64", CM_TENSOR_I64},
                 {"torch int32", CM_TENSOR_I32},
                 {"torch int16", CM_TENSOR_I16},
                 {"torch int8", CM_TENSOR_I8},
                 {"torch uint64", CM_TENSOR_U64},
                 {"torch uint32", CM_TENSOR_U32},
                 {"torch uint16", CM_TENSOR_U16},
                 {"torch uint8", CM_TENSOR_U8},
                 {"torch bool", CM_TENSOR_BOOL}};
    static const char *const unsupported[] = {"torch QUInt8Storage",
                                              "torch QInt8Storage",
                                              "torch QInt32Storage",
                                              "torch QUInt4x2Storage",
                                              "torch QUInt2x4Storage",
                                              "torch ComplexFloatStorage",
                                              "torch ComplexDoubleStorage",
                                              "torch._utils _rebuild_sparse_tensor",
                                              "torch._utils _rebuild_qtensor",
                                              "torch._utils _rebuild_meta_tensor_no_storage",
                                              "torch complex32",
                                              "torch complex64",
                                              "torch complex128",
                                              "torch float8_e4m3fn",
                                              "torch float8_e4m3fnuz",
                                              "torch float8_e5m2",
                                              "torch float8_e5m2fnuz",
                                              "torch float8_e8m0fnu",
                                              "torch float4_e2m1fn_x2"};
    static const char *const opaque[] = {"numpy.core.multiarray scalar",
                                         "numpy._core.multiarray scalar",
                                         "numpy.core.multiarray _reconstruct",
                                         "numpy._core.multiarray _reconstruct",
                                         "numpy dtype",
                                         "numpy ndarray",
                                         "_codecs encode",
                                         "torch device",
                                         "torch.serialization _get_layout",
                                         "collections Counter",
                                         "__builtin__ set",
                                         "__builtin__ frozenset",
                                         "__builtin__ bytearray",
                                         "__builtin__ complex",
                                         "builtins set",
                                         "builtins frozenset",
                                         "builtins bytearray",
                                         "builtins complex",
                                         "pathlib PosixPath",
                                         "pathlib WindowsPath",
                                         "pathlib._local PosixPath",
                                         "pathlib._local WindowsPath",
                                         "argparse Namespace",
                                         "types SimpleNamespace",
                                         "datetime datetime",
                                         "datetime timedelta"};
    static const char *const never[] = {"torch Tensor",     "__builtin__ int",  "__builtin__ float",
                                        "__builtin__ list", "__builtin__ dict", "builtins int",
                                        "builtins float",   "builtins list",    "builtins dict"};
    static const char *const containers[] = {"torch.nn.modules.container ModuleDict",
                                             "torch.nn.modules.container ModuleList",
                                             "torch.nn.modules.container Sequential"};
    char pickle[200], words[200];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        snprintf(pickle, sizeof pickle, "c%s\n.", types[i].name);
        *strchr(pickle, ' ') = '\n';
        machine m;
        make_machine(&m, pickle, strlen(pickle));
        cm_pickled *v;
        size_t after;
        OK(cmi_pickle_run(m.p, "it", BEFORE, BEFORE + strlen(pickle), &v, &after));
        ck_assert_int_eq(v->u.symbol->type, (int)types[i].type);
        ck_assert_int_eq(cmi_pickle_symbol_is_dtype(v->u.symbol), i >= 12);
        ck_assert_int_eq(v->u.symbol->describe == NULL, 1);
        end_machine(&m);
    }
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++) {
        snprintf(pickle, sizeof pickle, "c%s\n.", unsupported[i]);
        snprintf(words, sizeof words, "'%s' is not supported", unsupported[i]);
        *strchr(pickle, ' ') = '\n';
        refused(pickle, strlen(pickle), CM_ERR_UNSUPPORTED, words);
    }
    for (size_t i = 0; i < sizeof opaque / sizeof *opaque; i++) {
        snprintf(pickle, sizeof pickle, "c%s\n(NNtR.", opaque[i]);
        *strchr(pickle, ' ') = '\n';
        gives(pickle, strlen(pickle), "opaque");
    }
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        snprintf(pickle, sizeof pickle, "c%s\n)R.", never[i]);
        *strchr(pickle, ' ') = '\n';
        refused(pickle, strlen(pickle), CM_ERR_FORMAT, "a class is called that is only known by its name");
    }
    for (size_t i = 0; i < sizeof containers / sizeof *containers; i++) {
        snprintf(pickle, sizeof pickle, "c%s\n)\201.", containers[i]);
        *strchr(pickle, ' ') = '\n';
        gives(pickle, strlen(pickle), "object(None)");
    }
}
END_TEST

Suite *make_suite(void)
{
    Suite *s = suite_create("pickle_symbols");
    TCase *t = tcase_create("symbols");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, storages);
    tcase_add_test(t, dictionaries);
    tcase_add_test(t, tensors);
    tcase_add_test(t, objects);
    tcase_add_test(t, closed_list);
    suite_add_tcase(s, t);
    return s;
}
