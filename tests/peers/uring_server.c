/*
 * An echo server over io_uring: one thread, one ring, ASCII upper case. The wait is its only system call.
 *
 * Accept and receive are multishot. The kernel chooses receive buffers from a provided buffer ring, and each reply is sent
 * from the buffer of its request. A connection has one send in flight, because two could be reordered. Further buffers
 * queue behind it. While a connection holds HELD_MAX buffers, nothing is received from it.
 *
 *   cc -O3 -Wall -Wextra -o uring_server uring_server.c -luring       liburing 2.3, Linux 6.1
 *   ./uring_server PORT        listens on 127.0.0.1:PORT (0: any free port) and prints that address
 */
#define _GNU_SOURCE
#include <liburing.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "echo.h"

enum {
    ENTRIES = 4096,
    COMPLETIONS = 8 * ENTRIES,
    BUFFERS = 4096, /* a power of two */
    BUFFER = 16 * 1024,
    STRIDE = BUFFER + 64, /* not a power of two, or all buffers would map to the same cache sets */
    HELD_MAX = 16
};

struct connection {
    int fd;
    bool receiving;  /* a multishot receive is armed */
    bool cancelling; /* and is being cancelled */
    bool starving;   /* the receive can be armed again only when there are free buffers */
    bool ended;      /* nothing more will be received */
    bool sending;
    unsigned held;        /* buffers in the queue from `first` to `last`; the first is being sent */
    unsigned first, last;
    unsigned sent;        /* bytes of the first buffer */
    struct connection *next_starved;
};

/* The kind of a completion: the low bits of its user data. The other bits are the connection's address. */
enum { ACCEPTED, RECEIVED, SENT, CANCELLED, KIND = 3 };

static struct io_uring ring;
static struct io_uring_buf_ring *ring_of_buffers;
static unsigned char *memory;
static unsigned length_of[BUFFERS], next_of[BUFFERS];
static unsigned given_back; /* buffers that the kernel gets back before the next wait */
static struct connection *starved; /* connections for which no buffer was free */

static unsigned char *buffer(unsigned id)
{
    return memory + (size_t)id * STRIDE;
}

static struct io_uring_sqe *entry(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    while (sqe == NULL) {
        if (io_uring_submit(&ring) < 0)
            die("io_uring_submit");
        sqe = io_uring_get_sqe(&ring);
    }
    return sqe;
}

static uint64_t tag(struct connection *connection, unsigned kind)
{
    return (uint64_t)(uintptr_t)connection | kind;
}

static void accept_all(int listener)
{
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, tag(NULL, ACCEPTED));
}

static void receive(struct connection *connection)
{
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_recv_multishot(sqe, connection->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data64(sqe, tag(connection, RECEIVED));
    connection->receiving = true;
}

static void stop_receiving(struct connection *connection)
{
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_cancel64(sqe, tag(connection, RECEIVED), 0);
    io_uring_sqe_set_data64(sqe, tag(NULL, CANCELLED));
    connection->cancelling = true;
}

static void send_first(struct connection *connection)
{
    struct io_uring_sqe *sqe = entry();
    unsigned id = connection->first;
    io_uring_prep_send(sqe, connection->fd, buffer(id) + connection->sent, length_of[id] - connection->sent,
                       MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data64(sqe, tag(connection, SENT));
    connection->sending = true;
}

static void give_back_first(struct connection *connection)
{
    unsigned id = connection->first;
    connection->first = next_of[id];
    connection->sent = 0;
    connection->held--;
    io_uring_buf_ring_add(ring_of_buffers, buffer(id), BUFFER, (unsigned short)id,
                          io_uring_buf_ring_mask(BUFFERS), (int)given_back++);
}

/* Starts the next operation of a connection, or closes it. */
static void start_next(struct connection *connection)
{
    if (connection->held > 0) {
        if (!connection->sending)
            send_first(connection);
        if (connection->held >= HELD_MAX && connection->receiving && !connection->cancelling)
            stop_receiving(connection);
    } else if (!connection->receiving && !connection->starving && !connection->ended) {
        receive(connection);
    } else if (connection->ended) {
        close(connection->fd);
        free(connection);
    }
}

static void on_accepted(const struct io_uring_cqe *cqe, int listener)
{
    if (!(cqe->flags & IORING_CQE_F_MORE))
        accept_all(listener);
    if (cqe->res == -ECONNABORTED || cqe->res == -EINTR)
        return;
    errno = -cqe->res;
    /* Out of descriptors or memory: the measurement would be invalid. */
    if (cqe->res < 0)
        die("accept");
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        die("calloc");
    connection->fd = cqe->res;
    receive(connection);
}

static void on_received(const struct io_uring_cqe *cqe, struct connection *connection)
{
    if (!(cqe->flags & IORING_CQE_F_MORE))
        connection->receiving = connection->cancelling = false;
    if (cqe->res > 0) {
        unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        length_of[id] = (unsigned)cqe->res;
        upper(buffer(id), (size_t)cqe->res);
        if (connection->held++ == 0)
            connection->first = id;
        else
            next_of[connection->last] = id;
        connection->last = id;
    } else if (cqe->res == -ENOBUFS) {
        connection->starving = true;
        connection->next_starved = starved;
        starved = connection;
    } else if (cqe->res != -ECANCELED) {
        connection->ended = true;
    }
    start_next(connection);
}

static void on_sent(const struct io_uring_cqe *cqe, struct connection *connection)
{
    connection->sending = false;
    if (cqe->res > 0) {
        connection->sent += (unsigned)cqe->res;
        if (connection->sent == length_of[connection->first])
            give_back_first(connection);
    } else {
        /* The connection is lost. The shutdown ends the receive, and so the connection. */
        while (connection->held > 0)
            give_back_first(connection);
        shutdown(connection->fd, SHUT_RDWR);
    }
    start_next(connection);
}

static void set_up(void)
{
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = COMPLETIONS,
    };
    errno = -io_uring_queue_init_params(ENTRIES, &ring, &parameters);
    if (errno != 0)
        die("io_uring_queue_init_params");
    int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    memory = mmap(NULL, (size_t)BUFFERS * STRIDE, PROT_READ | PROT_WRITE, kind, -1, 0);
    ring_of_buffers = mmap(NULL, BUFFERS * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE, kind, -1, 0);
    if (memory == MAP_FAILED || ring_of_buffers == MAP_FAILED)
        die("mmap");
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)ring_of_buffers,
        .ring_entries = BUFFERS,
    };
    errno = -io_uring_register_buf_ring(&ring, &registration, 0);
    if (errno != 0)
        die("io_uring_register_buf_ring");
    io_uring_buf_ring_init(ring_of_buffers);
    for (unsigned id = 0; id < BUFFERS; id++)
        io_uring_buf_ring_add(ring_of_buffers, buffer(id), BUFFER, (unsigned short)id,
                              io_uring_buf_ring_mask(BUFFERS), (int)id);
    io_uring_buf_ring_advance(ring_of_buffers, BUFFERS);
}

int main(int argc, char **argv)
{
    int port = argc == 2 ? port_of(argv[1]) : -1;
    if (port < 0) {
        fprintf(stderr, "usage: uring_server PORT\n");
        return 2;
    }
    raise_open_files_limit();
    set_up();
    int listener = listen_on(port, 0);
    accept_all(listener);
    for (;;) {
        int submitted = io_uring_submit_and_wait(&ring, 1);
        errno = -submitted;
        if (submitted < 0 && errno != EINTR)
            die("io_uring_submit_and_wait");
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(&ring, head, cqe) {
            struct connection *connection = (void *)(uintptr_t)(cqe->user_data & ~(uint64_t)KIND);
            switch (cqe->user_data & KIND) {
            case ACCEPTED: on_accepted(cqe, listener); break;
            case RECEIVED: on_received(cqe, connection); break;
            case SENT: on_sent(cqe, connection); break;
            }
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
        if (given_back == 0)
            continue;
        io_uring_buf_ring_advance(ring_of_buffers, (int)given_back);
        given_back = 0;
        struct connection *waiting = starved;
        starved = NULL;
        while (waiting != NULL) {
            struct connection *next = waiting->next_starved;
            waiting->starving = false;
            start_next(waiting);
            waiting = next;
        }
    }
}
