"""The C library through ctypes: finding it, its structs, its prototypes.

tests/python_symbols.py compares all of this with the headers."""

import ctypes as C
import os
from typing import Any, Dict, Iterator, List, Tuple

CM_OK = 0
CM_ERR_CANCELLED = -7
CM_F32, CM_U8 = 1, 4


class LibraryNotFound(ImportError):
    pass


def choices(name: str) -> List[str]:
    """What an option can be: the entries of a list of cm_choice_name."""
    entries: List[str] = []
    while lib.cm_choice_name(name.encode(), len(entries)) is not None:
        entries.append(lib.cm_choice_name(name.encode(), len(entries)).decode())
    return entries


def _candidates() -> Iterator[str]:
    here = os.path.dirname(os.path.abspath(__file__))
    if os.environ.get("CONSISTENCY_LIBRARY"):  # this one, or none
        yield os.environ["CONSISTENCY_LIBRARY"]
        return
    yield os.path.join(here, "libconsistency.so.0")
    top = os.path.normpath(os.path.join(here, "..", "..", ".."))
    yield os.path.join(top, os.environ.get("CONSISTENCY_BUILD", "build"), "lib", "libconsistency.so.0")
    yield "libconsistency.so.0"


def _load() -> Any:
    tried = []
    for path in _candidates():
        if os.sep in path and not os.path.exists(path):
            tried.append("%s: no such file" % path)
            continue
        try:
            return C.CDLL(path)
        except OSError as error:
            tried.append("%s: %s" % (path, error))
    raise LibraryNotFound("libconsistency was not found. Tried:\n  " + "\n  ".join(tried)
                          + ("\nCONSISTENCY_LIBRARY names this one; without it the package finds its own."
                             if os.environ.get("CONSISTENCY_LIBRARY") else "\nSet CONSISTENCY_LIBRARY to its path, or build it with make."))


PROGRESS = C.CFUNCTYPE(C.c_int32, C.c_void_p, C.c_uint64, C.c_uint64)
READ = C.CFUNCTYPE(C.c_int32, C.c_void_p, C.c_uint64, C.c_void_p, C.c_size_t)
ALLOC = C.CFUNCTYPE(C.c_void_p, C.c_void_p, C.c_size_t, C.c_size_t)
FREE = C.CFUNCTYPE(None, C.c_void_p, C.c_void_p)
LOG = C.CFUNCTYPE(None, C.c_void_p, C.c_int32, C.c_char_p)


class Struct(C.Structure):
    _c_name = ""

    @classmethod
    def names(cls) -> List[str]:
        return [field[0] for field in cls._fields_]


class ContextOptions(Struct):
    _c_name = "cm_context_options"
    _fields_ = [("struct_size", C.c_uint32), ("threads", C.c_int32), ("alloc", ALLOC), ("free", FREE),
                ("memory_user", C.c_void_p), ("log", LOG), ("log_user", C.c_void_p),
                ("parallel_for", C.c_void_p), ("parallel_user", C.c_void_p)]


class LoadOptions(Struct):
    _c_name = "cm_load_options"
    _fields_ = [("struct_size", C.c_uint32), ("allow_nonfinite", C.c_int32), ("config_json", C.c_char_p),
                ("progress", PROGRESS), ("progress_user", C.c_void_p), ("copy", C.c_int32), ("reserved", C.c_int32),
                ("weights", C.c_char_p)]


class Reader(Struct):
    _c_name = "cm_reader"
    _fields_ = [("struct_size", C.c_uint32), ("reserved", C.c_int32), ("size", C.c_uint64), ("read", READ),
                ("user", C.c_void_p)]


class SaveOptions(Struct):
    _c_name = "cm_save_options"
    _fields_ = [("struct_size", C.c_uint32), ("overwrite", C.c_int32), ("format", C.c_int32), ("dtype", C.c_int32),
                ("shard_bytes", C.c_uint64), ("progress", PROGRESS), ("progress_user", C.c_void_p)]


FOUND = C.CFUNCTYPE(None, C.c_void_p, C.c_char_p)


class CheckpointOptions(Struct):
    _c_name = "cm_checkpoint_options"
    _fields_ = [("struct_size", C.c_uint32), ("reserved", C.c_int32), ("weights", C.c_char_p), ("config_json", C.c_char_p)]


class CheckpointInfo(Struct):
    _c_name = "cm_checkpoint_info"
    _fields_ = [("struct_size", C.c_uint32), ("kind", C.c_int32), ("bytes", C.c_uint64), ("tensors", C.c_uint64),
                ("values", C.c_uint64), ("tensor_bytes", C.c_uint64), ("sets", C.c_uint64), ("notes", C.c_uint64),
                ("format", C.c_char_p), ("about", C.c_char_p), ("weights", C.c_char_p), ("network", C.c_char_p),
                ("precond", C.c_char_p), ("problem", C.c_char_p)]


class CheckpointCheckOptions(Struct):
    _c_name = "cm_checkpoint_check_options"
    _fields_ = [("struct_size", C.c_uint32), ("reserved", C.c_int32), ("progress", PROGRESS),
                ("progress_user", C.c_void_p), ("found", FOUND), ("found_user", C.c_void_p)]


class CheckpointReport(Struct):
    _c_name = "cm_checkpoint_report"
    _fields_ = [("struct_size", C.c_uint32), ("is_sound", C.c_int32), ("bytes", C.c_uint64), ("checksums", C.c_uint64),
                ("without_checksum", C.c_uint64), ("nan_values", C.c_uint64), ("infinite_values", C.c_uint64),
                ("nonfinite_tensors", C.c_uint64), ("findings", C.c_uint64)]


class Condition(Struct):
    _c_name = "cm_condition"
    _fields_ = [("struct_size", C.c_uint32), ("reserved", C.c_int32), ("labels", C.POINTER(C.c_int32)),
                ("guidance", C.c_double)]


class DenoiseOptions(Struct):
    _c_name = "cm_denoise_options"
    _fields_ = [("struct_size", C.c_uint32), ("reserved", C.c_int32), ("condition", C.POINTER(Condition)),
                ("progress", PROGRESS), ("progress_user", C.c_void_p), ("second", C.POINTER(C.c_float)),
                ("second_tangent", C.POINTER(C.c_float))]


class LikelihoodOptions(Struct):
    _c_name = "cm_likelihood_options"
    _fields_ = [("struct_size", C.c_uint32), ("probes", C.c_int32), ("rk45_rtol", C.c_double), ("rk45_atol", C.c_double),
                ("rk45_max_nfe", C.c_int32), ("continuous", C.c_int32), ("sigma_min", C.c_double),
                ("sigma_max", C.c_double), ("seed", C.c_uint64), ("first_index", C.c_uint64),
                ("condition", C.POINTER(Condition)), ("progress", PROGRESS), ("progress_user", C.c_void_p),
                ("evaluations", C.POINTER(C.c_int32))]


class ModelInfo(Struct):
    _c_name = "cm_model_info"
    _fields_ = [("struct_size", C.c_uint32), ("channels", C.c_int32), ("height", C.c_int32), ("width", C.c_int32),
                ("out_channels", C.c_int32), ("num_classes", C.c_int32), ("needs_label", C.c_int32),
                ("is_consistency", C.c_int32), ("sigma_min", C.c_double), ("sigma_max", C.c_double),
                ("sigma_data", C.c_double), ("parameters", C.c_uint64), ("tensors", C.c_uint64),
                ("weight_bytes", C.c_uint64), ("network", C.c_char_p), ("precond", C.c_char_p),
                ("config_json", C.c_char_p)]


class Images(Struct):
    _c_name = "cm_images"
    _fields_ = [("struct_size", C.c_uint32), ("dtype", C.c_int32), ("n", C.c_size_t), ("channels", C.c_int32),
                ("height", C.c_int32), ("width", C.c_int32), ("layout", C.c_int32), ("image_stride", C.c_int64),
                ("channel_stride", C.c_int64), ("row_stride", C.c_int64), ("pixel_stride", C.c_int64),
                ("data", C.c_void_p)]


class ImageWriteOptions(Struct):
    _c_name = "cm_image_write_options"
    _fields_ = [("struct_size", C.c_uint32), ("format", C.c_int32), ("quality", C.c_int32), ("overwrite", C.c_int32),
                ("note", C.c_char_p)]


class ImageReadOptions(Struct):
    _c_name = "cm_image_read_options"
    _fields_ = [("struct_size", C.c_uint32), ("channels", C.c_int32), ("dtype", C.c_int32)]


STEP = C.CFUNCTYPE(C.c_int32, C.c_void_p, C.c_int32, C.c_double, C.c_size_t, C.POINTER(Images))


class SamplerOptions(Struct):
    _c_name = "cm_sampler_options"
    _fields_ = [("struct_size", C.c_uint32), ("max_batch", C.c_int32), ("threads", C.c_int32), ("precision", C.c_int32),
                ("memory", C.c_int32), ("reserved", C.c_int32), ("debug", C.c_char_p), ("below", C.c_void_p),
                ("border", C.c_double)]


class SampleOptions(Struct):
    _c_name = "cm_sample_options"
    _fields_ = [("struct_size", C.c_uint32), ("method", C.c_int32), ("sigmas", C.POINTER(C.c_double)),
                ("sigma_count", C.c_size_t), ("ts", C.POINTER(C.c_int32)), ("ts_count", C.c_size_t),
                ("grid", C.c_int32), ("steps", C.c_int32), ("rho", C.c_double), ("sigma_min", C.c_double),
                ("sigma_max", C.c_double), ("clip_denoised", C.c_int32), ("clip_output", C.c_int32),
                ("s_churn", C.c_double), ("s_tmin", C.c_double), ("s_tmax", C.c_double), ("s_noise", C.c_double),
                ("edm_discretization", C.c_int32), ("edm_schedule", C.c_int32), ("edm_scaling", C.c_int32),
                ("edm_solver", C.c_int32), ("edm_alpha", C.c_double), ("seed", C.c_uint64),
                ("first_index", C.c_uint64), ("noise_source", C.c_int32), ("reserved", C.c_int32), ("num_samples", C.c_uint64),
                ("noise", C.POINTER(C.c_float)), ("step_noise", C.POINTER(C.c_float)), ("noise_steps", C.c_size_t),
                ("condition", C.POINTER(Condition)), ("progress", PROGRESS), ("progress_user", C.c_void_p),
                ("step", STEP), ("step_user", C.c_void_p), ("dpmpp_order", C.c_int32), ("dpmpp_form", C.c_int32),
                ("dpmpp_end", C.c_int32), ("reserved2", C.c_int32), ("rk45_rtol", C.c_double), ("rk45_atol", C.c_double),
                ("pc_snr", C.c_double), ("rk45_max_nfe", C.c_int32), ("pc_corrections", C.c_int32),
                ("evaluations", C.POINTER(C.c_int32)), ("temperature", C.c_double)]


class SamplerInfo(Struct):
    _c_name = "cm_sampler_info"
    _fields_ = [("struct_size", C.c_uint32), ("threads", C.c_int32), ("max_batch", C.c_int32),
                ("reserved", C.c_int32), ("activation_bytes", C.c_uint64), ("packed_bytes", C.c_uint64), ("plan_seconds", C.c_double)]


class DatasetOptions(Struct):
    _c_name = "cm_dataset_options"
    _fields_ = [("struct_size", C.c_uint32), ("channels", C.c_int32), ("height", C.c_int32), ("width", C.c_int32),
                ("random_crop", C.c_int32), ("labels", C.c_int32), ("stop_on_bad", C.c_int32), ("shuffle", C.c_int32),
                ("seed", C.c_uint64), ("held_out", C.c_double), ("part", C.c_int32), ("reserved", C.c_int32), ("class_names", C.c_char_p)]


class DatasetInfo(Struct):
    _c_name = "cm_dataset_info"
    _fields_ = [("struct_size", C.c_uint32), ("channels", C.c_int32), ("height", C.c_int32), ("width", C.c_int32),
                ("images", C.c_uint64), ("classes", C.c_int32), ("largest_label", C.c_int32), ("bad", C.c_uint64),
                ("fingerprint", C.c_uint64), ("kind", C.c_char_p), ("classes_from", C.c_char_p)]


DATASET_FOUND = C.CFUNCTYPE(None, C.c_void_p, C.c_int32, C.c_char_p)


class DatasetCheckOptions(Struct):
    _c_name = "cm_dataset_check_options"
    _fields_ = [("struct_size", C.c_uint32), ("class_least", C.c_int32), ("progress", PROGRESS), ("progress_user", C.c_void_p),
                ("found", DATASET_FOUND), ("found_user", C.c_void_p)]


class DatasetReport(Struct):
    _c_name = "cm_dataset_report"
    _fields_ = [("struct_size", C.c_uint32), ("is_sound", C.c_int32), ("images", C.c_uint64), ("damaged", C.c_uint64),
                ("left_out", C.c_uint64), ("duplicates", C.c_uint64), ("contradictions", C.c_uint64), ("enlarged", C.c_uint64),
                ("gray", C.c_uint64), ("findings", C.c_uint64), ("least_height", C.c_int32), ("least_width", C.c_int32),
                ("most_height", C.c_int32), ("most_width", C.c_int32)]


class DatasetPackOptions(Struct):
    _c_name = "cm_dataset_pack_options"
    _fields_ = [("struct_size", C.c_uint32), ("form", C.c_int32), ("overwrite", C.c_int32), ("reserved", C.c_int32),
                ("progress", PROGRESS), ("progress_user", C.c_void_p)]


_i, _l, _d = C.c_int32, C.c_int64, C.c_double


# The calls of a group of processes: `sum` starts a sum, `wait` ends it.
GROUP_SUM = C.CFUNCTYPE(C.c_int, C.c_void_p, C.POINTER(C.c_float), C.c_size_t, C.c_char_p, C.POINTER(C.c_uint64))
GROUP_WAIT = C.CFUNCTYPE(C.c_int, C.c_void_p, C.c_uint64)
GROUP_BROADCAST = C.CFUNCTYPE(C.c_int, C.c_void_p, C.c_void_p, C.c_size_t, C.c_char_p)
GROUP_GATHER = C.CFUNCTYPE(C.c_int, C.c_void_p, C.c_void_p, C.c_size_t, C.c_void_p, C.c_char_p)
GROUP_GIVE_UP = C.CFUNCTYPE(None, C.c_void_p, C.c_int, C.c_char_p)
GROUP_MESSAGE = C.CFUNCTYPE(C.c_char_p, C.c_void_p)


class Group(Struct):
    _c_name = "cm_group"
    _fields_ = [("struct_size", C.c_uint32), ("rank", _i), ("size", _i), ("reserved", _i), ("user", C.c_void_p),
                ("engine", C.c_char_p), ("sum", GROUP_SUM), ("wait", GROUP_WAIT), ("broadcast", GROUP_BROADCAST),
                ("gather", GROUP_GATHER), ("give_up", GROUP_GIVE_UP), ("message", GROUP_MESSAGE)]


class TrainInputs(Struct):
    _c_name = "cm_train_inputs"
    _fields_ = [("struct_size", C.c_uint32), ("reserved", _i), ("model", C.c_void_p), ("teacher", C.c_void_p),
                ("group", C.POINTER(Group))]


class AverageOptions(Struct):
    _c_name = "cm_average_options"
    _fields_ = [("struct_size", C.c_uint32), ("reserved", _i), ("std", _d), ("images", _d), ("progress", PROGRESS),
                ("progress_user", C.c_void_p)]


class OptionInfo(Struct):
    _c_name = "cm_option_info"
    _fields_ = [("struct_size", C.c_uint32), ("kind", _i), ("name", C.c_char_p), ("about", C.c_char_p),
                ("choices", C.c_char_p), ("objectives", C.c_uint64), ("minimum", _d), ("maximum", _d),
                ("above_minimum", _i), ("takes_auto", _i), ("decides_course", _i), ("reserved", _i), ("automatic", _d)]


class TrainReport(Struct):
    _c_name = "cm_train_report"
    _fields_ = [("struct_size", C.c_uint32), ("scales", _i), ("step", _l), ("images", C.c_uint64), ("loss", _d),
                ("grad_norm", _d), ("lr", _d), ("mu", _d), ("ect_stage", _i), ("skipped", _i), ("seconds", _d),
                ("data_wait", _d), ("peak_bytes", C.c_uint64), ("group_wait", _d)]


TRAIN = C.CFUNCTYPE(C.c_int32, C.c_void_p, C.POINTER(TrainReport))


class RunInfo(Struct):
    _c_name = "cm_run_info"
    _fields_ = [("struct_size", C.c_uint32), ("batch", _i), ("step", _l), ("steps", _l), ("images", C.c_uint64),
                ("bad", C.c_uint64), ("parameters", C.c_uint64), ("pages", _l), ("sample_share", _d), ("channels", _i),
                ("height", _i), ("width", _i), ("classes", _i), ("is_finished", _i), ("reserved", _i),
                ("kind", C.c_char_p), ("classes_from", C.c_char_p), ("data", C.c_char_p), ("metric", C.c_char_p),
                ("evaluations", _l), ("metric_share", _d), ("best_distance", _d), ("best_step", _l)]


class RunNeeds(Struct):
    _c_name = "cm_run_needs"
    _fields_ = [("struct_size", C.c_uint32), ("fits", _i), ("bytes", C.c_uint64), ("free_bytes", C.c_uint64),
                ("free_of", C.c_char_p), ("batch", _i), ("size", _i), ("batch_bytes", C.c_uint64),
                ("size_bytes", C.c_uint64), ("step_seconds", _d), ("seconds", _d), ("sample_share", _d),
                ("metric_share", _d)]


class RunReport(Struct):
    _c_name = "cm_run_report"
    _fields_ = [("struct_size", C.c_uint32), ("event", _i), ("step", _l), ("steps", _l), ("images", C.c_uint64),
                ("loss", _d), ("grad_norm", _d), ("lr", _d), ("images_per_second", _d), ("seconds_left", _d),
                ("path", C.c_char_p), ("training", C.POINTER(TrainReport)), ("metric", C.c_char_p), ("distance", _d),
                ("best_distance", _d), ("best_step", _l)]


RUN = C.CFUNCTYPE(C.c_int32, C.c_void_p, C.POINTER(RunReport))

class EditOptions(Struct):
    _c_name = "cm_edit_options"
    _fields_ = [("struct_size", C.c_uint32), ("variations", _i), ("start", _i), ("cut", _i), ("sigma", _d), ("fill", _d),
                ("luma", _d * 3), ("to", C.c_uint64), ("sampling", C.POINTER(SampleOptions))]


MAP = C.CFUNCTYPE(C.c_int32, C.c_void_p, C.POINTER(C.c_double), C.POINTER(C.c_double))


class EditMap(Struct):
    _c_name = "cm_edit_map"
    _fields_ = [("struct_size", C.c_uint32), ("patch", _i), ("matrix", C.POINTER(C.c_double)), ("forward", MAP),
                ("inverse", MAP), ("user", C.c_void_p)]


class FeaturesInfo(Struct):
    _c_name = "cm_features_info"
    _fields_ = [("struct_size", C.c_uint32), ("channels", C.c_int32), ("height", C.c_int32), ("width", C.c_int32),
                ("padded", C.c_int32), ("features", C.c_int32), ("classes", C.c_int32), ("resizes", C.c_int32),
                ("network", C.c_char_p), ("weights", C.c_char_p), ("spatial", C.c_int32), ("early", C.c_int32 * 3)]


class FeatureRows(Struct):
    _c_name = "cm_feature_rows"
    _fields_ = [("struct_size", C.c_uint32), ("reserved", C.c_int32), ("values", C.POINTER(C.c_float)),
                ("logits", C.POINTER(C.c_float)), ("scores", C.POINTER(C.c_float)), ("spatial", C.POINTER(C.c_float)),
                ("early", C.POINTER(C.c_float) * 3)]


class LpipsOptions(Struct):
    _c_name = "cm_lpips_options"
    _fields_ = [("struct_size", C.c_uint32), ("pooling", C.c_int32), ("resize", C.c_int32), ("uniform", C.c_int32)]


class LpipsInfo(Struct):
    _c_name = "cm_lpips_info"
    _fields_ = [("struct_size", C.c_uint32), ("layers", C.c_int32), ("network", C.c_char_p), ("weights", C.c_char_p)]


class SamplesOptions(Struct):
    _c_name = "cm_samples_options"
    _fields_ = [("struct_size", C.c_uint32), ("overwrite", C.c_int32), ("rounding", C.c_int32), ("reserved", C.c_int32)]


class StatisticsInfo(Struct):
    _c_name = "cm_statistics_info"
    _fields_ = [("struct_size", C.c_uint32), ("dimension", C.c_int32), ("count", C.c_uint64), ("network", C.c_char_p),
                ("weights", C.c_char_p)]


class SubsetOptions(Struct):
    _c_name = "cm_subset_options"
    _fields_ = [("struct_size", C.c_uint32), ("subsets", C.c_int32), ("size", C.c_int32), ("reserved", C.c_int32),
                ("seed", C.c_uint64)]


class ScoreOptions(Struct):
    _c_name = "cm_score_options"
    _fields_ = [("struct_size", C.c_uint32), ("split", C.c_int32), ("probabilities", C.c_int32),
                ("reserved", C.c_int32)]


class NeighbourOptions(Struct):
    _c_name = "cm_neighbour_options"
    _fields_ = [("struct_size", C.c_uint32), ("neighbours", C.c_int32)]


POINT = C.CFUNCTYPE(C.c_int32, C.c_void_p, C.c_int32, C.POINTER(C.c_double))


class SearchOptions(Struct):
    _c_name = "cm_search_options"
    _fields_ = [("struct_size", C.c_uint32), ("left", C.c_int32), ("right", C.c_int32), ("larger", C.c_int32),
                ("progress", PROGRESS), ("progress_user", C.c_void_p)]


STRUCTS: List[Any] = [ContextOptions, LoadOptions, Reader, SaveOptions, Condition, DenoiseOptions, LikelihoodOptions, ModelInfo, SamplerOptions,
                      SampleOptions, SamplerInfo, DatasetOptions, DatasetInfo, DatasetCheckOptions,
                      DatasetReport, DatasetPackOptions, Group, TrainInputs, AverageOptions, OptionInfo, TrainReport, RunInfo, RunNeeds,
                      RunReport, Images, ImageWriteOptions,
                      ImageReadOptions, EditOptions, EditMap, CheckpointOptions, CheckpointInfo, CheckpointCheckOptions,
                      CheckpointReport, FeaturesInfo, FeatureRows, LpipsInfo, LpipsOptions, SamplesOptions, StatisticsInfo, SubsetOptions, ScoreOptions, NeighbourOptions,
                      SearchOptions]

_p, _size, _i32, _u8p, _f32p = C.c_void_p, C.c_size_t, C.c_int32, C.POINTER(C.c_uint8), C.POINTER(C.c_float)
_i32p, _f64p = C.POINTER(C.c_int32), C.POINTER(C.c_double)

# name: (result, arguments)
PROTOTYPES: Dict[str, Tuple[Any, List[Any]]] = {
    "cm_version": (C.c_char_p, []),
    "cm_version_number": (C.c_uint32, []),
    "cm_build_info": (C.c_char_p, []),
    "cm_status_name": (C.c_char_p, [C.c_int]),
    "cm_name_hint": (_size, [C.c_char_p, C.POINTER(C.c_char_p), C.c_char_p, C.c_char_p, _size]),
    "cm_choice_name": (C.c_char_p, [C.c_char_p, _size]),
    "cm_choice_about": (C.c_char_p, [C.c_char_p, _size]),
    "cm_last_message": (C.c_char_p, []),
    "cm_abi_sizeof": (_size, [C.c_char_p]),
    "cm_context_options_init": (None, [C.POINTER(ContextOptions), _size]),
    "cm_context_create": (C.c_int, [C.POINTER(ContextOptions), C.POINTER(_p)]),
    "cm_context_free": (None, [_p]),
    "cm_load_options_init": (None, [C.POINTER(LoadOptions), _size]),
    "cm_save_options_init": (None, [C.POINTER(SaveOptions), _size]),
    "cm_condition_init": (None, [C.POINTER(Condition), _size]),
    "cm_denoise_options_init": (None, [C.POINTER(DenoiseOptions), _size]),
    "cm_likelihood_options_init": (None, [C.POINTER(LikelihoodOptions), _size]),
    "cm_model_bits_per_dim": (C.c_int, [_p, C.POINTER(LikelihoodOptions), _size, _f32p, _f64p]),
    "cm_model_info_init": (None, [C.POINTER(ModelInfo), _size]),
    "cm_average_options_init": (None, [C.POINTER(AverageOptions), _size]),
    "cm_average_reconstruct": (C.c_int, [_p, C.POINTER(C.c_char_p), C.c_size_t, C.POINTER(AverageOptions),
                                         C.POINTER(_p)]),
    "cm_model_load": (C.c_int, [_p, C.c_char_p, C.POINTER(LoadOptions), C.POINTER(_p)]),
    "cm_reader_init": (None, [C.POINTER(Reader), _size]),
    "cm_model_load_memory": (C.c_int, [_p, _p, _size, C.POINTER(LoadOptions), C.POINTER(_p)]),
    "cm_model_load_stream": (C.c_int, [_p, C.POINTER(Reader), C.POINTER(LoadOptions), C.POINTER(_p)]),
    "cm_model_free": (None, [_p]),
    "cm_model_save": (C.c_int, [_p, C.c_char_p, C.POINTER(SaveOptions)]),
    "cm_model_info_get": (C.c_int, [_p, C.POINTER(ModelInfo)]),
    "cm_model_class_name": (C.c_char_p, [_p, _i32]),
    "cm_model_find_class": (C.c_int, [_p, C.c_char_p, _i32p]),
    "cm_model_param_count": (_size, [_p]),
    "cm_model_param_info": (C.c_int, [_p, _size, C.POINTER(C.c_char_p), _i32p, C.POINTER(C.c_int64), _i32p]),
    "cm_model_param_read": (C.c_int, [_p, _size, _size, _f32p]),
    "cm_model_denoise": (C.c_int, [_p, _size, _f32p, _f32p, _i32p, _f32p]),
    "cm_model_denoise_with": (C.c_int, [_p, C.POINTER(DenoiseOptions), _size, _f32p, _f32p, _f32p]),
    "cm_model_denoise_tangent": (C.c_int, [_p, C.POINTER(DenoiseOptions), _size, _f32p, _f32p, _f32p, _f32p, _f32p,
                                           _f32p]),
    "cm_checkpoint_options_init": (None, [C.POINTER(CheckpointOptions), _size]),
    "cm_checkpoint_info_init": (None, [C.POINTER(CheckpointInfo), _size]),
    "cm_checkpoint_check_options_init": (None, [C.POINTER(CheckpointCheckOptions), _size]),
    "cm_checkpoint_report_init": (None, [C.POINTER(CheckpointReport), _size]),
    "cm_checkpoint_open": (C.c_int, [_p, C.c_char_p, C.POINTER(CheckpointOptions), C.POINTER(_p)]),
    "cm_checkpoint_open_memory": (C.c_int, [_p, _p, _size, C.POINTER(CheckpointOptions), C.POINTER(_p)]),
    "cm_checkpoint_free": (None, [_p]),
    "cm_checkpoint_info_get": (C.c_int, [_p, C.POINTER(CheckpointInfo)]),
    "cm_checkpoint_model": (_p, [_p]),
    "cm_checkpoint_tensor": (C.c_int, [_p, _size, C.POINTER(C.c_char_p), _i32p, C.POINTER(C.c_int64), _i32p]),
    "cm_checkpoint_find": (C.c_int, [_p, C.c_char_p, C.POINTER(_size)]),
    "cm_checkpoint_read": (C.c_int, [_p, _size, _size, _p]),
    "cm_checkpoint_read_f32": (C.c_int, [_p, _size, _size, _f32p]),
    "cm_checkpoint_set_name": (C.c_char_p, [_p, _size]),
    "cm_checkpoint_note": (C.c_int, [_p, _size, C.POINTER(C.c_char_p), C.POINTER(C.c_char_p)]),
    "cm_checkpoint_check": (C.c_int, [_p, C.POINTER(CheckpointCheckOptions), C.POINTER(CheckpointReport)]),
    "cm_sampler_options_init": (None, [C.POINTER(SamplerOptions), _size]),
    "cm_sample_options_init": (None, [C.POINTER(SampleOptions), _size]),
    "cm_sampler_info_init": (None, [C.POINTER(SamplerInfo), _size]),
    "cm_sampler_create": (C.c_int, [_p, C.POINTER(SamplerOptions), C.POINTER(_p)]),
    "cm_sampler_estimate": (C.c_int, [_p, C.POINTER(SamplerOptions), C.POINTER(SamplerInfo)]),
    "cm_sampler_free": (None, [_p]),
    "cm_sampler_run": (C.c_int, [_p, C.POINTER(SampleOptions), _size, _f32p]),
    "cm_sampler_run_images": (C.c_int, [_p, C.POINTER(SampleOptions), C.POINTER(Images)]),
    "cm_images_init": (None, [C.POINTER(Images), _size]),
    "cm_images_convert": (C.c_int, [C.POINTER(Images), C.POINTER(Images)]),
    "cm_sampler_cancel": (None, [_p]),
    "cm_sampler_info_get": (C.c_int, [_p, C.POINTER(SamplerInfo)]),
    "cm_sampler_nfe": (C.c_int, [_p, C.POINTER(SampleOptions), _i32p]),
    "cm_edit_options_init": (None, [C.POINTER(EditOptions), _size]),
    "cm_edit_map_init": (None, [C.POINTER(EditMap), _size]),
    "cm_sampler_inpaint": (C.c_int, [_p, C.POINTER(EditOptions), C.POINTER(Images), C.POINTER(Images), C.POINTER(Images)]),
    "cm_sampler_colorize": (C.c_int, [_p, C.POINTER(EditOptions), C.POINTER(Images), C.POINTER(Images)]),
    "cm_sampler_super_resolve": (C.c_int, [_p, C.POINTER(EditOptions), C.POINTER(Images), C.POINTER(Images)]),
    "cm_sampler_stroke": (C.c_int, [_p, C.POINTER(EditOptions), C.POINTER(Images), C.POINTER(Images)]),
    "cm_sampler_denoise": (C.c_int, [_p, C.POINTER(EditOptions), C.POINTER(Images), C.POINTER(Images)]),
    "cm_sampler_interpolate": (C.c_int, [_p, C.POINTER(EditOptions), C.POINTER(Images)]),
    "cm_sampler_edit": (C.c_int, [_p, C.POINTER(EditOptions), C.POINTER(EditMap), C.POINTER(Images),
                                  C.POINTER(Images), C.POINTER(Images)]),
    "cm_image_grid_size": (C.c_int, [C.POINTER(Images), _i32, _i32, _i32p, _i32p]),
    "cm_image_named_grid_size": (C.c_int, [C.POINTER(Images), _i32, _i32, C.POINTER(C.c_char_p), _i32p, _i32p]),
    "cm_image_named_grid": (C.c_int, [C.POINTER(Images), _i32, _i32, C.c_uint8, C.POINTER(C.c_char_p), C.POINTER(Images)]),
    "cm_image_grid": (C.c_int, [C.POINTER(Images), _i32, _i32, C.c_uint8, C.POINTER(Images)]),
    "cm_image_write_options_init": (None, [C.POINTER(ImageWriteOptions), _size]),
    "cm_image_write": (C.c_int, [_p, C.c_char_p, C.POINTER(Images), C.POINTER(ImageWriteOptions)]),
    "cm_image_write_check": (C.c_int, [_p, C.c_char_p, C.POINTER(Images), C.POINTER(ImageWriteOptions)]),
    "cm_image_encode": (C.c_int, [_p, C.POINTER(Images), C.POINTER(ImageWriteOptions), C.POINTER(_u8p),
                                  C.POINTER(_size)]),
    "cm_image_note": (C.c_int, [_p, C.c_char_p, C.POINTER(_u8p), C.POINTER(_size)]),
    "cm_bytes_free": (None, [_p, _u8p]),
    "cm_image_read_options_init": (None, [C.POINTER(ImageReadOptions), _size]),
    "cm_image_read": (C.c_int, [_p, C.c_char_p, C.POINTER(ImageReadOptions), C.POINTER(Images)]),
    "cm_image_decode": (C.c_int, [_p, C.c_char_p, _size, C.POINTER(ImageReadOptions), C.POINTER(Images)]),
    "cm_image_free": (None, [_p, C.POINTER(Images)]),
    "cm_image_fit": (C.c_int, [_p, _i32, C.c_uint8, C.POINTER(Images), C.POINTER(Images)]),
    "cm_image_noise_level": (C.c_int, [_p, C.POINTER(Images), C.POINTER(C.c_double)]),
    "cm_dataset_options_init": (None, [C.POINTER(DatasetOptions), _size]),
    "cm_dataset_info_init": (None, [C.POINTER(DatasetInfo), _size]),
    "cm_dataset_open": (C.c_int, [_p, C.c_char_p, C.POINTER(DatasetOptions), C.POINTER(_p)]),
    "cm_dataset_free": (None, [_p]),
    "cm_dataset_info_get": (C.c_int, [_p, C.POINTER(DatasetInfo)]),
    "cm_dataset_class_name": (C.c_char_p, [_p, _i32]),
    "cm_dataset_read": (C.c_int, [_p, C.c_uint64, C.POINTER(Images), _i32p]),
    "cm_dataset_cancel": (None, [_p]),
    "cm_dataset_class_counts": (C.c_int, [_p, _size, C.POINTER(C.c_uint64)]),
    "cm_dataset_check_options_init": (None, [C.POINTER(DatasetCheckOptions), _size]),
    "cm_dataset_report_init": (None, [C.POINTER(DatasetReport), _size]),
    "cm_dataset_check": (C.c_int, [_p, C.POINTER(DatasetCheckOptions), C.POINTER(DatasetReport)]),
    "cm_dataset_pack_options_init": (None, [C.POINTER(DatasetPackOptions), _size]),
    "cm_dataset_pack": (C.c_int, [_p, C.c_char_p, C.POINTER(DatasetPackOptions), C.POINTER(C.c_uint64)]),
    "cm_model_create": (C.c_int, [_p, C.c_char_p, C.c_uint64, C.POINTER(_p)]),
    "cm_train_options_create": (C.c_int, [_p, C.POINTER(_p)]),
    "cm_train_options_copy": (C.c_int, [_p, C.POINTER(_p)]),
    "cm_train_options_free": (None, [_p]),
    "cm_train_options_set_number": (C.c_int, [_p, C.c_char_p, C.c_double]),
    "cm_train_options_get": (C.c_int, [_p, C.c_char_p, C.c_char_p, _size, C.POINTER(_size)]),
    "cm_train_options_get_number": (C.c_int, [_p, C.c_char_p, C.POINTER(C.c_double)]),
    "cm_option_info_init": (None, [C.POINTER(OptionInfo), _size]),
    "cm_train_option_count": (_size, []),
    "cm_train_option_describe": (C.c_int, [_size, C.POINTER(OptionInfo)]),
    "cm_train_option_default": (C.c_int, [_size, _i32, C.c_char_p, _size, C.POINTER(_size)]),
    "cm_group_init": (None, [C.POINTER(Group), _size]),
    "cm_train_inputs_init": (None, [C.POINTER(TrainInputs), _size]),
    "cm_train_options_preset": (C.c_int, [_p, C.c_char_p]),
    "cm_train_preset_name": (C.c_char_p, [_size]),
    "cm_train_preset_about": (C.c_char_p, [_size]),
    "cm_train_preset_source": (C.c_char_p, [_size]),
    "cm_train_preset_config": (C.c_char_p, [_size]),
    "cm_train_preset_check": (C.c_int, [C.c_char_p, _p]),
    "cm_model_count": (C.c_int, [_p, C.c_char_p, C.POINTER(C.c_uint64)]),
    "cm_train_options_set": (C.c_int, [_p, C.c_char_p, C.c_char_p]),
    "cm_train_options_json": (C.c_int, [_p, C.c_char_p, _size, C.POINTER(_size)]),
    "cm_train_options_read": (C.c_int, [_p, C.c_char_p]),
    "cm_train_options_check": (C.c_int, [_p]),
    "cm_train_report_init": (None, [C.POINTER(TrainReport), _size]),
    "cm_train_data_check": (C.c_int, [_p, _p, _p]),
    "cm_trainer_create": (C.c_int, [C.POINTER(TrainInputs), _p, C.POINTER(_p)]),
    "cm_trainer_estimate": (C.c_int, [C.POINTER(TrainInputs), _p, C.POINTER(C.c_uint64)]),
    "cm_trainer_free": (None, [_p]),
    "cm_trainer_step": (C.c_int, [_p, C.POINTER(Images), C.POINTER(Condition), C.POINTER(TrainReport)]),
    "cm_trainer_run": (C.c_int, [_p, _p, C.c_int64, TRAIN, _p]),
    "cm_trainer_cancel": (None, [_p]),
    "cm_trainer_model": (C.c_int, [_p, _i32, _i32, C.POINTER(_p)]),
    "cm_trainer_steps": (C.c_int, [_p, C.POINTER(C.c_uint64)]),
    "cm_trainer_bytes": (C.c_int, [_p, C.POINTER(C.c_uint64)]),
    "cm_trainer_save": (C.c_int, [_p, C.c_char_p, _i32]),
    "cm_trainer_resume": (C.c_int, [_p, C.c_char_p, _p, _i32]),
    "cm_run_options_create": (C.c_int, [_p, C.POINTER(_p)]),
    "cm_run_options_free": (None, [_p]),
    "cm_run_options_set": (C.c_int, [_p, C.c_char_p, C.c_char_p]),
    "cm_run_options_set_number": (C.c_int, [_p, C.c_char_p, C.c_double]),
    "cm_run_options_prefix": (None, [_p, C.c_char_p]),
    "cm_run_options_group": (C.c_int, [_p, C.POINTER(Group)]),
    "cm_run_options_inputs": (C.c_int, [_p, _p, _p, _p]),
    "cm_run_options_json": (C.c_int, [_p, C.c_char_p, _size, C.POINTER(_size)]),
    "cm_run_options_read": (C.c_int, [_p, C.c_char_p]),
    "cm_run_options_load": (C.c_int, [_p, C.c_char_p]),
    "cm_run_model_path": (C.c_int, [_p, C.c_char_p, C.c_char_p, _size]),
    "cm_run_options_check": (C.c_int, [_p]),
    "cm_run_create": (C.c_int, [_p, C.c_char_p, C.POINTER(_p)]),
    "cm_run_free": (None, [_p]),
    "cm_run_info_init": (None, [C.POINTER(RunInfo), _size]),
    "cm_run_info_get": (C.c_int, [_p, C.POINTER(RunInfo)]),
    "cm_run_needs_init": (None, [C.POINTER(RunNeeds), _size]),
    "cm_run_report_init": (None, [C.POINTER(RunReport), _size]),
    "cm_run_estimate": (C.c_int, [_p, _i32, C.POINTER(RunNeeds)]),
    "cm_run_begin": (C.c_int, [_p]),
    "cm_run_execute": (C.c_int, [_p, C.c_int64, RUN, _p]),
    "cm_run_stop": (None, [_p]),
    "cm_run_cancel": (None, [_p]),
    "cm_run_trainer": (_p, [_p]),
    "cm_features_open": (C.c_int, [_p, C.c_char_p, C.c_char_p, C.POINTER(_p)]),
    "cm_features_free": (None, [_p]),
    "cm_features_info_init": (None, [C.POINTER(FeaturesInfo), _size]),
    "cm_features_info_get": (C.c_int, [_p, C.POINTER(FeaturesInfo)]),
    "cm_features_run": (C.c_int, [_p, C.POINTER(Images), _f32p, _f32p]),
    "cm_lpips_options_init": (None, [C.POINTER(LpipsOptions), _size]),
    "cm_lpips_open": (C.c_int, [_p, C.c_char_p, C.c_char_p, C.c_char_p, C.POINTER(LpipsOptions), C.POINTER(_p)]),
    "cm_lpips_free": (None, [_p]),
    "cm_lpips_info_init": (None, [C.POINTER(LpipsInfo), _size]),
    "cm_lpips_info_get": (C.c_int, [_p, C.POINTER(LpipsInfo)]),
    "cm_lpips_run": (C.c_int, [_p, C.POINTER(Images), C.POINTER(Images), _f64p, _f32p, _f32p]),
    "cm_lpips_gradient": (C.c_int, [_p, C.POINTER(Images), C.POINTER(Images), _f64p, _f32p]),
    "cm_feature_rows_init": (None, [C.POINTER(FeatureRows), _size]),
    "cm_features_run_rows": (C.c_int, [_p, C.POINTER(Images), C.POINTER(FeatureRows)]),
    "cm_features_write": (C.c_int, [_p, C.c_char_p, _size, C.POINTER(FeatureRows), _i32p, _i32]),
    "cm_features_read": (C.c_int, [_p, C.c_char_p, C.POINTER(_size), C.POINTER(FeatureRows), _i32p]),
    "cm_samples_options_init": (None, [C.POINTER(SamplesOptions), _size]),
    "cm_samples_write": (C.c_int, [_p, C.c_char_p, C.POINTER(Images), _i32p, C.POINTER(SamplesOptions)]),
    "cm_statistics_create": (C.c_int, [_p, _i32, C.POINTER(_p)]),
    "cm_statistics_free": (None, [_p]),
    "cm_statistics_add": (C.c_int, [_p, _size, _f32p]),
    "cm_statistics_mark": (C.c_int, [_p, _p]),
    "cm_statistics_merge": (C.c_int, [_p, _p]),
    "cm_statistics_given": (C.c_int, [_p, _i32, C.c_uint64, _f64p, _f64p, C.POINTER(_p)]),
    "cm_statistics_read": (C.c_int, [_p, C.c_char_p, C.c_char_p, C.POINTER(_p)]),
    "cm_statistics_write": (C.c_int, [_p, _p, C.c_char_p, _i32]),
    "cm_statistics_info_init": (None, [C.POINTER(StatisticsInfo), _size]),
    "cm_statistics_info_get": (C.c_int, [_p, C.POINTER(StatisticsInfo)]),
    "cm_statistics_values": (C.c_int, [_p, _f64p, _f64p]),
    "cm_frechet_distance": (C.c_int, [_p, _p, _f64p]),
    "cm_subset_options_init": (None, [C.POINTER(SubsetOptions), _size]),
    "cm_frechet_subsets": (C.c_int, [_p, _size, _f32p, C.POINTER(SubsetOptions), _f64p, _f64p]),
    "cm_frechet_infinity": (C.c_int, [_p, _size, _f32p, C.POINTER(SubsetOptions), _f64p]),
    "cm_kernel_distance": (C.c_int, [_p, _i32, _size, _f32p, _size, _f32p, C.POINTER(SubsetOptions), _f64p, _f64p]),
    "cm_search_options_init": (None, [C.POINTER(SearchOptions), _size]),
    "cm_search_point": (C.c_int, [C.POINTER(SearchOptions), POINT, _p, _i32p]),
    "cm_score_options_init": (None, [C.POINTER(ScoreOptions), _size]),
    "cm_inception_score": (C.c_int, [_p, _i32, _size, _f32p, C.POINTER(ScoreOptions), _f64p, _f64p]),
    "cm_neighbour_options_init": (None, [C.POINTER(NeighbourOptions), _size]),
    "cm_precision_recall": (C.c_int, [_p, _i32, _size, _f32p, _size, _f32p, C.POINTER(NeighbourOptions), _f64p,
                                      _f64p]),
}


def _prepare(lib: Any) -> Any:
    for name, (result, arguments) in PROTOTYPES.items():
        function = getattr(lib, name, None)
        if function is None:
            raise ImportError("%s has no %s: it is no libconsistency, or an older one than this binding" % (lib._name, name))
        function.restype, function.argtypes = result, arguments
    if lib.cm_version_number() // 1000000 != 0:
        raise ImportError("this binding is for libconsistency 0.x, found %s" % lib.cm_version().decode())
    for struct in STRUCTS:
        size = lib.cm_abi_sizeof(struct._c_name.encode())
        if size < C.sizeof(struct):
            raise ImportError("libconsistency %s has %s of %d bytes, this binding knows %d: they do not belong together"
                              % (lib.cm_version().decode(), struct._c_name, size, C.sizeof(struct)))
    return lib


lib = _prepare(_load())
