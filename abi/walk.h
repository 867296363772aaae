/*
 * Between walk.c, which sees a target's headers, and walk_main.c, which sees the
 * host's. So there are no types of any header in it.
 */
struct found {
    long at;   /* of the header, from the beginning of the control buffer */
    long data; /* of CMSG_DATA, from there too */
    unsigned long long length;
    int level;
    int type;
};

enum {
    ENDED = '.',       /* CMSG_NXTHDR gave NULL */
    OUTSIDE = 'o',     /* a header that is not whole inside the buffer */
    STOOD_STILL = 's', /* the same header again */
    WENT_BACK = 'b',   /* a header before the one that it came from */
    TOO_MANY = 'm'
};

struct layout {
    long header_size;
    long data_offset;
    long space_of_one;
};

struct layout layout(void);
int walk(void *control, unsigned long controllen, int most, struct found *found,
         int *count);
