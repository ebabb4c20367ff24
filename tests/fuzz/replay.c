/* replay.c FILE... - runs a fuzz target over files, and over each cut short at
 * every byte (up to 4 KiB) and with a bit flipped at every 7th: what make check
 * does where there is no libFuzzer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of the exact size, so that tools see a read past its end. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

int main(int argc, char **argv)
{
    long inputs = 0;
    if (argc < 2) {
        printf("%s: no files: a corpus is missing\n", argv[0]);
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        static uint8_t data[1 << 20];
        if (!f) {
            perror(argv[i]);
            return 1;
        }
        size_t n = fread(data, 1, sizeof data, f), most = n < 4096 ? n : 4096;
        fclose(f);
        feed(data, n);
        for (size_t k = 0; k < most; k++, inputs++) feed(data, k);
        for (size_t k = 0; k < most; k += 7, inputs++) {
            data[k] ^= (uint8_t)(1u << k % 8);
            feed(data, n);
            data[k] ^= (uint8_t)(1u << k % 8);
        }
    }
    printf("%s: %d files, %ld damaged copies\n", argv[0], argc - 1, inputs);
    return 0;
}
