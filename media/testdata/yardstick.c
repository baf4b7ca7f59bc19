/* What a relay costs at the least: the yardstick that the event loops of package media are
 * held against. One thread, epoll, connected sockets, a recv and a send a packet, and one
 * wake-up a millisecond. It rewrites nothing and records nothing.
 *
 *   yardstick PAIRS ADDRESS PORT PEER PEERPORT
 *
 * Pair i takes ADDRESS:PORT+4i and ADDRESS:PORT+4i+2 and relays between PEER:PEERPORT+4i and
 * PEER:PEERPORT+4i+2. It ends when its standard input does. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
	perror(what);
	exit(1);
}

static struct sockaddr_in address(const char *ip, int port) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	if (inet_pton(AF_INET, ip, &a.sin_addr) != 1) {
		fprintf(stderr, "%s is no address\n", ip);
		exit(2);
	}
	return a;
}

static int open_leg(const char *ip, int port, const char *peer, int peer_port) {
	struct sockaddr_in here = address(ip, port), there = address(peer, peer_port);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (fd < 0)
		die("socket");
	if (bind(fd, (struct sockaddr *)&here, sizeof here))
		die("bind");
	if (connect(fd, (struct sockaddr *)&there, sizeof there))
		die("connect");
	return fd;
}

static int64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv) {
	if (argc != 6) {
		fprintf(stderr, "usage: yardstick PAIRS ADDRESS PORT PEER PEERPORT\n");
		return 2;
	}
	int pairs = atoi(argv[1]), port = atoi(argv[3]), peer_port = atoi(argv[5]);
	int loop = epoll_create1(0);
	if (loop < 0)
		die("epoll_create1");
	for (int i = 0; i < pairs; i++) {
		int legs[2];
		for (int leg = 0; leg < 2; leg++)
			legs[leg] = open_leg(argv[2], port + 4 * i + 2 * leg, argv[4], peer_port + 4 * i + 2 * leg);
		for (int leg = 0; leg < 2; leg++) {
			struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)legs[leg] << 32 | (uint32_t)legs[1 - leg]};
			if (epoll_ctl(loop, EPOLL_CTL_ADD, legs[leg], &e))
				die("epoll_ctl");
		}
	}
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0};
	if (epoll_ctl(loop, EPOLL_CTL_ADD, 0, &e))
		die("epoll_ctl");
	puts("ready");
	fflush(stdout);
	for (;;) {
		static struct epoll_event events[512];
		static char b[2048];
		int n = epoll_wait(loop, events, 512, -1);
		int64_t woke = now();
		for (int i = 0; i < n; i++) {
			int in = events[i].data.u64 >> 32, out = (int)(uint32_t)events[i].data.u64;
			if (in == 0) {
				if (read(0, b, sizeof b) <= 0)
					return 0;
				continue;
			}
			ssize_t got = recv(in, b, sizeof b, 0);
			if (got > 0 && send(out, b, got, MSG_NOSIGNAL) < 0 && errno != EAGAIN && errno != ECONNREFUSED)
				die("send");
		}
		int64_t rest = 1000000 - (now() - woke);
		if (n < 512 && rest > 0) {
			struct timespec t = {.tv_nsec = rest};
			nanosleep(&t, NULL);
		}
	}
}
