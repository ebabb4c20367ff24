/* foreign.c - files that people give in place of models, data sets and pictures, by
 * their first bytes. */
#include "io/foreign.h"

#include <ctype.h>
#include <string.h>

typedef struct {
    const char *bytes;
    size_t size, at;
    cm_foreign kind;
} signature;

#define S(bytes, at, what, is_model)                                                                                 \
    {                                                                                                                \
        bytes, sizeof(bytes) - 1, at,                                                                                \
        {                                                                                                            \
            what, is_model                                                                                           \
        }                                                                                                            \
    }

/* The longer ones stand before those that are a part of them. */
static const signature signatures[] = {
    S("version https://git-lfs", 0,
      "a Git LFS pointer: the file itself was not downloaded (\"git lfs pull\" fetches it)", 0),
    S("PK\3\4", 0, "a zip archive, as PyTorch's checkpoints (.pt, .pth, .ckpt) and .npz files are", 1),
    S("PK\5\6", 0, "an empty zip archive", 0),
    S("GGUF", 0, "a GGUF file, as llama.cpp and its kind read them: look for the model's .safetensors or .pt", 1),
    S("ggml", 0, "a GGML file: look for the model's .safetensors or .pt", 1),
    S("lmgg", 0, "a GGML file: look for the model's .safetensors or .pt", 1),
    S("\x89HDF\r\n\x1a\n", 0, "an HDF5 file, as Keras writes them: save its arrays as safetensors", 1),
    S("\x93NUMPY", 0, "a NumPy array (.npy)", 1),
    S("TFL3", 4, "a TensorFlow Lite model: look for the weights that it was made from", 1),
    S("model_checkpoint_path:", 0, "the list of a TensorFlow checkpoint's files: save its arrays as safetensors", 1),
    S("\x89PNG\r\n\x1a\n", 0, "a PNG picture", 0),
    S("\xff\xd8\xff", 0, "a JPEG picture", 0),
    S("GIF8", 0, "a GIF picture", 0),
    S("WEBP", 8, "a WebP picture", 0),
    S("BM", 0, "a BMP picture", 0),
    S("II*\0", 0, "a TIFF picture", 0),
    S("MM\0*", 0, "a TIFF picture", 0),
    S("ftypavif", 4, "an AVIF picture", 0),
    S("ftypheic", 4, "a HEIC picture", 0),
    S("ftypheix", 4, "a HEIC picture", 0),
    S("ftypmif1", 4, "a HEIF picture", 0),
    S("ftyp", 4, "a video or a picture of a video's format (MP4, MOV, HEIF)", 0),
    S("\0\0\0\x0cjP  ", 0, "a JPEG 2000 picture", 0),
    S("\0\0\0\x0cJXL ", 0, "a JPEG XL picture", 0),
    S("\xff\x0a", 0, "a JPEG XL picture", 0),
    S("8BPS", 0, "a Photoshop picture", 0),
    S("\x1a\x45\xdf\xa3", 0, "a video (Matroska, WebM)", 0),
    S("AVI ", 8, "a video (AVI)", 0),
    S("%PDF-", 0, "a PDF document", 0),
    S("PAR1", 0, "a Parquet file: export its pictures as files", 0),
    S("ARROW1", 0, "an Arrow file: export its pictures as files", 0),
    S("MATLAB 5.0 MAT-file", 0, "a MATLAB file (.mat)", 0),
    S("\x1f\x8b", 0, "a gzip file: unpack it first", 0),
    S("BZh", 0, "a bzip2 file: unpack it first", 0),
    S("\xfd"
      "7zXZ",
      0, "an xz file: unpack it first", 0),
    S("\x28\xb5\x2f\xfd", 0, "a Zstandard file: unpack it first", 0),
    S("\x04\x22\x4d\x18", 0, "an LZ4 file: unpack it first", 0),
    S("7z\xbc\xaf\x27\x1c", 0, "a 7-Zip archive: unpack it first", 0),
    S("Rar!\x1a\7", 0, "a RAR archive: unpack it first", 0),
    S("sys_info\0", 0,
      "a checkpoint of PyTorch before version 0.1.10 (tar), an old format: load it with PyTorch and save it again",
      1),
    S("ustar", 257, "a tar archive: unpack it first", 0),
    S("\x7f"
      "ELF",
      0, "a program or library (ELF)", 0),
    S("SQLite format 3", 0, "an SQLite database", 0),
    S("\0\5\x16\7", 0, "what macOS keeps of a file beside it (._NAME): give the file itself", 0),
    S("MZ", 0, "a program or library (Windows)", 0),
};

static const cm_foreign
    empty = {"an empty file: was the download cut off?", 0},
    zeros = {"a file of zeros: was the download cut off?", 0},
    html = {"an HTML page, as a download that asks for a login or has moved gives: download the file itself", 0},
    xml = {"an XML document, as a refused download gives", 0}, json = {"JSON text", 0},
    diffusers = {"a part of a folder of diffusers: give the folder that it is in", 1},
    shards = {"the list of a model's shards: give the folder that it is in, or one of its files", 1},
    onnx = {"an ONNX model, which is a program: look for the weights that it was made from", 1},
    saved_model = {"a TensorFlow SavedModel, which is a program: save its arrays as safetensors", 1},
    index_of_tensorflow = {"the index of a TensorFlow checkpoint: save its arrays as safetensors", 1},
    pickle = {"a Python pickle, as PyTorch and NVlabs' EDM save models (.pkl, .pt, .pth)", 1},
    msgpack = {"a msgpack file, as flax saves checkpoints", 1}, text = {"plain text", 0};

/* Text that begins so, whatever the case and the blanks before it. */
static int begins(const unsigned char *bytes, size_t size, const char *with)
{
    for (; *with; bytes++, size--, with++)
        if (size == 0 || tolower(*bytes) != *with) return 0;
    return 1;
}

static int has(const unsigned char *bytes, size_t size, const char *word)
{
    const size_t n = strlen(word);
    for (size_t i = 0; i + n <= size; i++)
        if (memcmp(bytes + i, word, n) == 0) return 1;
    return 0;
}

static int is_text(const unsigned char *bytes, size_t size)
{
    size_t n = size < 512 ? size : 512;
    for (size_t i = 0; i < n; i++)
        if (bytes[i] < 32 ? !isspace(bytes[i]) : bytes[i] == 127) return 0;
    return 1;
}

static const cm_foreign *text_kind(const unsigned char *bytes, size_t size)
{
    if (!is_text(bytes, size)) return NULL;
    if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) bytes += 3, size -= 3;
    while (size > 0 && isspace(*bytes)) bytes++, size--;
    if (begins(bytes, size, "<!doctype html") || begins(bytes, size, "<html") || begins(bytes, size, "<head"))
        return &html;
    if (begins(bytes, size, "<?xml") || begins(bytes, size, "<")) return &xml;
    if (!begins(bytes, size, "{") && !begins(bytes, size, "[")) return &text;
    if (has(bytes, size, "\"weight_map\"")) return &shards;
    return has(bytes, size, "\"_diffusers_version\"") ? &diffusers : &json;
}

/* Protocols 2 to 5 begin with their number, older ones with a mark or a name; all end in a stop. */
static int is_pickle(const unsigned char *bytes, size_t size)
{
    if (bytes[0] == 0x80) return bytes[1] >= 2 && bytes[1] <= 5;
    return size > 8 && bytes[size - 1] == '.' &&
           (memcmp(bytes, "(dp", 3) == 0 || memcmp(bytes, "ccopy_reg", 9) == 0 || memcmp(bytes, "(lp", 3) == 0);
}

/* A map whose first key is a short text, as every checkpoint of flax. */
static int is_msgpack(const unsigned char *bytes, size_t size)
{
    size_t at = (bytes[0] & 0xf0) == 0x80 ? 1 : bytes[0] == 0xde ? 3 : bytes[0] == 0xdf ? 5 : 0;
    if (at == 0 || size < at + 2 || (bytes[at] & 0xe0) != 0xa0) return 0;
    size_t n = bytes[at] & 0x1f;
    if (n == 0 || size < at + 1 + n) return 0;
    for (size_t i = 0; i < n; i++)
        if (bytes[at + 1 + i] <= ' ' || bytes[at + 1 + i] > '~') return 0;
    return 1;
}

/* Messages of Protocol Buffers: a version in field 1; then the name of the producer in field 2, or a message there.
 */
static const cm_foreign *message_kind(const unsigned char *bytes, size_t size)
{
    if (size < 8 || bytes[0] != 0x08 || bytes[1] == 0 || bytes[1] > 15) return NULL;
    if (bytes[2] == 0x3a) return &onnx; /* its graph */
    if (bytes[2] != 0x12) return NULL;
    if (bytes[3] < 64 && size > 4u + bytes[3] && bytes[3] && is_text(bytes + 4, bytes[3])) return &onnx;
    return bytes[1] == 1 ? &saved_model : NULL;
}

/* The first entry has no key, and says that there is one shard or more, and version 1. */
static int is_index_of_tensorflow(const unsigned char *bytes, size_t size)
{
    return size > 9 && bytes[0] == 0 && bytes[1] == 0 && bytes[2] < 32 && bytes[3] == 0x08 &&
           memcmp(bytes + 5, "\x1a\2\x08\1", 4) == 0;
}

static int is_zeros(const unsigned char *bytes, size_t size)
{
    size_t n = size < 4096 ? size : 4096;
    for (size_t i = 0; i < n; i++)
        if (bytes[i]) return 0;
    return 1;
}

const cm_foreign *cmi_foreign_kind(const unsigned char *bytes, size_t size)
{
    if (size == 0) return &empty;
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const signature *s = &signatures[i];
        if (size >= s->at + s->size && memcmp(bytes + s->at, s->bytes, s->size) == 0) return &s->kind;
    }
    if (is_index_of_tensorflow(bytes, size)) return &index_of_tensorflow;
    if (message_kind(bytes, size)) return message_kind(bytes, size);
    if (size >= 2 && is_pickle(bytes, size)) return &pickle;
    if (is_msgpack(bytes, size)) return &msgpack;
    if (is_zeros(bytes, size)) return &zeros;
    return text_kind(bytes, size);
}
