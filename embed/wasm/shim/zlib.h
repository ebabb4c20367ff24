/* zlib.h - the one function of zlib that reading models takes, in the place of zlib itself (crc.c). */
#ifndef SHIM_ZLIB_H
#define SHIM_ZLIB_H

typedef unsigned long uLong;
typedef unsigned int uInt;
uLong crc32(uLong crc, const unsigned char *bytes, uInt length);

#endif
