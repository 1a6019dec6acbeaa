/*
 * The reference load: one thread, level-triggered epoll, closed loop, nothing measured but its own cost.
 *
 * A load generator's CPU time per request is compared with this minimum: one send and one recv for each request, and a
 * shared epoll_wait. The message is constant, only the bytes of a reply are counted, and no clock is read for a
 * request. A generator needs more for its checks, its histograms and its schedule.
 *
 * By default the message has SIZE bytes, for an echo. With REQUEST, that is the message ("\r" and "\n" stand for the end of a
 * line), and SIZE is the number of bytes of each reply.
 *
 *   cc -O2 -Wall -Wextra -o epoll_client epoll_client.c
 *   ./epoll_client HOST PORT CLIENTS SIZE SECONDS [REQUEST]        HOST is an IPv4 address
 *
 * Prints one line of JSON. The CPU is the process's user + system time from the first send to the end of the load;
 * connecting is not part of it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 512,
    MAX_CLIENTS = 1000 * 1000,
    MAX_SIZE = 64 * 1024,
    MAX_SECONDS = 24 * 3600,
    WAIT_MS = 100 /* the longest wait, so that the load ends in time if no reply arrives */
};

struct client {
    int fd;
    size_t missing; /* bytes of the reply not yet received */
};

static unsigned char message[MAX_SIZE];
static size_t message_size;
static unsigned char reply[MAX_SIZE];

static void die(const char *what)
{
    fprintf(stderr, "epoll_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void fail(const char *why)
{
    fprintf(stderr, "epoll_client: %s\n", why);
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static struct rusage usage(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) < 0)
        die("getrusage");
    return usage;
}

static void send_request(struct client *client, size_t reply_size)
{
    ssize_t sent = send(client->fd, message, message_size, MSG_NOSIGNAL);
    if (sent < 0)
        die("send");
    /* With one outstanding request, the send buffer is empty here. A short send means that it is smaller than SIZE. */
    if ((size_t)sent != message_size)
        fail("a message does not fit into the send buffer; use a smaller one");
    client->missing = reply_size;
}

/* Receives once. Returns 1 if the reply is complete. */
static int receive_reply(struct client *client)
{
    ssize_t received = recv(client->fd, reply, client->missing, 0);
    if (received < 0) {
        if (errno == EAGAIN)
            return 0;
        die("recv");
    }
    if (received == 0)
        fail("the server closed a connection");
    client->missing -= (size_t)received;
    return client->missing == 0;
}

/* Connects with a blocking call. The socket is non-blocking afterwards. */
static int connect_to(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        die("connect");
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        die("fcntl");
    return fd;
}

/* Each client needs a descriptor: raises the soft limit to the hard one. */
static void raise_open_files_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("setrlimit");
}

static long number(const char *text, long most)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < 1 || value > most) {
        fprintf(stderr, "epoll_client: '%s' is not a number from 1 to %ld\n", text, most);
        exit(2);
    }
    return value;
}

/* Copies a request into the message, with its escapes replaced. */
static void read_request(const char *text)
{
    message_size = 0;
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '\\' && (text[1] == 'r' || text[1] == 'n'))
            byte = *++text == 'r' ? '\r' : '\n';
        if (message_size == MAX_SIZE)
            fail("the REQUEST is too long");
        message[message_size++] = byte;
    }
    if (message_size == 0)
        fail("the REQUEST is empty");
}

int main(int argc, char **argv)
{
    if (argc != 6 && argc != 7) {
        fprintf(stderr, "usage: epoll_client HOST PORT CLIENTS SIZE SECONDS [REQUEST]\n");
        return 2;
    }
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) {
        fprintf(stderr, "epoll_client: '%s' is not an IPv4 address\n", argv[1]);
        return 2;
    }
    address.sin_port = htons((uint16_t)number(argv[2], 65535));
    size_t count = (size_t)number(argv[3], MAX_CLIENTS);
    size_t size = (size_t)number(argv[4], MAX_SIZE);
    double duration_s = (double)number(argv[5], MAX_SECONDS);

    raise_open_files_limit();
    memset(message, 'a', sizeof message);
    message_size = size;
    if (argc == 7)
        read_request(argv[6]);
    struct client *clients = calloc(count, sizeof *clients);
    if (clients == NULL)
        die("calloc");
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        die("epoll_create1");
    for (size_t i = 0; i < count; i++) {
        clients[i].fd = connect_to(&address);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event) < 0)
            die("epoll_ctl");
    }

    struct rusage before = usage();
    double start = now_s();
    double end = start + duration_s;
    double now = start;
    unsigned long long requests = 0;
    for (size_t i = 0; i < count; i++)
        send_request(&clients[i], size);

    static struct epoll_event events[EVENTS];
    while (now < end) {
        int ready = epoll_wait(epoll, events, EVENTS, WAIT_MS);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (receive_reply(client)) {
                requests++;
                send_request(client, size);
            }
        }
        now = now_s();
    }

    struct rusage after = usage();
    double user_s = seconds(after.ru_utime) - seconds(before.ru_utime);
    double system_s = seconds(after.ru_stime) - seconds(before.ru_stime);
    double cpu_s = user_s + system_s;
    printf("{\"requests\":%llu,\"seconds\":%.6f,\"user_s\":%.6f,\"system_s\":%.6f,\"cpu_s\":%.6f,"
           "\"cpu_ns_per_request\":%.1f}\n",
           requests, now - start, user_s, system_s, cpu_s, requests > 0 ? cpu_s * 1e9 / (double)requests : 0.0);
    return requests > 0 ? 0 : 1;
}
