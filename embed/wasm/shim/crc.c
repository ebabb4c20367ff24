/* crc.c - the cyclic redundancy check of zip archives, bit by bit. */
#include "zlib.h"

uLong crc32(uLong crc, const unsigned char *bytes, uInt length)
{
    uLong c = ~crc & 0xffffffffu;
    if (!bytes) return 0;
    for (uInt i = 0; i < length; i++) {
        c ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
    }
    return ~c & 0xffffffffu;
}
