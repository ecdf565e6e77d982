/*
 * h1_scan.c - the classes of h1_scan.h as bits, by character.
 */
#include "h1_scan.h"

#define LETTER (SCAN_TOKEN | SCAN_TARGET | SCAN_PATH | SCAN_HOST | SCAN_HOST_NAME | SCAN_ALPHA | SCAN_TEXT)
#define DIGIT (SCAN_TOKEN | SCAN_TARGET | SCAN_PATH | SCAN_HOST | SCAN_TEXT)
#define NAME (SCAN_TOKEN | SCAN_TARGET | SCAN_PATH | SCAN_HOST | SCAN_HOST_NAME | SCAN_TEXT)
#define MARK (SCAN_TOKEN | SCAN_TARGET | SCAN_PATH | SCAN_TEXT)  /* in tokens and paths */
#define SIGN (SCAN_TARGET | SCAN_PATH | SCAN_TEXT)               /* in paths */
#define RAW (SCAN_TARGET | SCAN_TEXT)                            /* somewhere in a target */

const unsigned char scan_class[256] = {
    ['\t'] = SCAN_TEXT, [' '] = SCAN_TEXT,
    ['A' ... 'Z'] = LETTER, ['a' ... 'z'] = LETTER, ['0' ... '9'] = DIGIT,
    ['-'] = NAME, ['_'] = NAME,
    ['.'] = SCAN_TOKEN | SCAN_TARGET | SCAN_HOST | SCAN_TEXT,
    ['!'] = MARK, ['$'] = MARK, ['&'] = MARK, ['\''] = MARK, ['*'] = MARK, ['+'] = MARK, ['~'] = MARK,
    ['('] = SIGN, [')'] = SIGN, [','] = SIGN, [':'] = SIGN, [';'] = SIGN, ['='] = SIGN, ['@'] = SIGN,
    ['#'] = SCAN_TOKEN | SCAN_TEXT,
    ['%'] = SCAN_TOKEN | RAW, ['^'] = SCAN_TOKEN | RAW, ['`'] = SCAN_TOKEN | RAW, ['|'] = SCAN_TOKEN | RAW,
    ['/'] = RAW, ['?'] = RAW, ['"'] = RAW, ['<'] = RAW, ['>'] = RAW, ['['] = RAW, ['\\'] = RAW, [']'] = RAW, ['{'] = RAW, ['}'] = RAW,
    [0x80 ... 0xff] = RAW,
};
