/* zip.h - the members of a ZIP archive in memory (PKWARE's APPNOTE 6.3), stored as they are: what torch.save writes.
 *
 * Compressed or encrypted members are refused, so that no archive is larger than its file; so are members that overlap, leave the archive or have one name.
 * Zip64 is read. That the bytes of a member are those of its checksum is for its reader to see (crc32.h). */
#ifndef IO_ZIP_H
#define IO_ZIP_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name;
    const void *data;                                   /* in the archive */
    size_t      bytes;
    uint32_t    crc;                                    /* CRC-32 of these, as the directory says */
} ZipMember;

typedef struct {
    int              count;
    const ZipMember *member;                            /* in the order of their names' bytes */
} Zip;

/* path is for messages; data outlive the Zip. NULL and err(). */
Zip             *zip_open(const void *data, size_t size, const char *path);
void             zip_close(Zip *z);                     /* z may be NULL */
const ZipMember *zip_find(const Zip *z, const char *name);      /* NULL: no such member, no err() */
#endif
