/* names.h - which names are data, in folders and archives alike: the one place
 * that decides. */
#ifndef CM_DATA_NAMES_H
#define CM_DATA_NAMES_H

#include "base/status.h"

typedef enum cm_name_kind {
    CM_NAME_OTHER,   /* no picture                                                   */
    CM_NAME_SYSTEM,  /* hidden, a system's or an editor's file, a part of a download */
    CM_NAME_PICTURE, /* a JPEG's or PNG's ending                                     */
    CM_NAME_PLAIN,   /* no ending: the content decides                               */
    CM_NAME_FORMAT,  /* another picture's or video's ending: the content decides     */
    CM_NAME_PACKED   /* the ending of a file that may hold pictures                  */
} cm_name_kind;

/* Of a cleaned name.  For FORMAT and PACKED *ending is its number, for
 * cmi_name_ending; else -1.  A folder on the way that is a system's makes SYSTEM. */
cm_name_kind cmi_name_kind_of(const char *name, int *ending);

/* One part of a name, or a folder's: hidden or a system's? */
int cmi_name_is_system(const char *part, size_t length);

enum { CM_NAME_ENDINGS = 128 }; /* at most */

/* ".webp" and so on, in lower case; NULL past the end. */
const char *cmi_name_ending(int number);
int cmi_name_ending_packed(int number);

/* In place: "\" to "/", without "./" and empty parts.  FORMAT for absolute names
 * and for "..". */
cm_status cmi_name_clean(const char *container, char *name);

/* Byte order of the parts from left to right: the order in which a walk with
 * sorted folders meets them. */
int cmi_name_order(const char *a, const char *b);

#endif
