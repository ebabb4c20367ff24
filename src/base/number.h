/* number.h - numbers as people write them, whatever the host's locale. */
#ifndef CM_BASE_NUMBER_H
#define CM_BASE_NUMBER_H

enum { CM_NUMBER_SIZE = 40 };

/* The fewest digits that give v again: 0.0004, 80, 1000000; powers of ten only
 * below 0.000001 and from 1e15 on (4e-8).  Returns text. */
const char *cmi_number_text(double v, char text[CM_NUMBER_SIZE]);

/* Whether a text is one number in JSON's spelling ("0.0004", "1e-4"), and which: the same in every locale. */
int cmi_number_read(const char *text, double *out);

#endif
