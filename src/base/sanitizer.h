/* sanitizer.h - whether AddressSanitizer or MemorySanitizer watches this build, by gcc's word or by clang's. */
#ifndef CM_BASE_SANITIZER_H
#define CM_BASE_SANITIZER_H

#ifdef __SANITIZE_ADDRESS__
#define CM_ADDRESS_SANITIZER 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define CM_ADDRESS_SANITIZER 1
#elif __has_feature(memory_sanitizer)
#define CM_MEMORY_SANITIZER 1
#endif
#endif

#endif
