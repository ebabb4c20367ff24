// font.hpp - letters of 3 x 5 points, so that the example needs no library of fonts.
#ifndef FONT_HPP
#define FONT_HPP

#include <SDL.h>

// Five rows of a letter, three bits each, as five octal digits; small letters are drawn as large ones.
inline unsigned glyph(char c)
{
    static const unsigned digits[10] = {075557, 026227, 071747, 071717, 055711,
                                        074717, 074757, 071111, 075757, 075717};
    static const unsigned letters[26] = {025755, 065656, 034443, 065556, 074647, 074644, 034553, 055755, 072227,
                                         011152, 055655, 044447, 057755, 065555, 025552, 065644, 025521, 065655,
                                         034216, 072222, 055557, 055552, 055775, 055255, 055222, 071247};
    if (c >= '0' && c <= '9') return digits[c - '0'];
    if (c >= 'A' && c <= 'Z') return letters[c - 'A'];
    if (c >= 'a' && c <= 'z') return letters[c - 'a'];
    switch (c) {
    case '.': return 000002;
    case ',': return 000024;
    case ':': return 002020;
    case '-': return 000700;
    case '/': return 011244;
    default: return 0;
    }
}

inline void write_text(SDL_Renderer *to, int x, int y, int scale, const char *text)
{
    for (; *text; text++, x += 4 * scale)
        for (int row = 0; row < 5; row++)
            for (int column = 0; column < 3; column++) {
                const SDL_Rect point = {x + column * scale, y + row * scale, scale, scale};
                if (glyph(*text) >> ((4 - row) * 3 + 2 - column) & 1) SDL_RenderFillRect(to, &point);
            }
}

#endif
