package media

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bewaard/bewaard/media/rtp"
)

const defaultEngine = EngineEpoll

// epoll is a few event loops, each with sockets of its own.
type epoll struct {
	dscp  int
	loops []*loop
}

func newEpoll(cfg Config) (driver, error) {
	e := &epoll{dscp: cfg.DSCP.value()}
	for range cfg.Loops {
		l, err := newLoop()
		if err != nil {
			e.close()
			return nil, fmt.Errorf("open an event loop: %w", err)
		}
		e.loops = append(e.loops, l)
	}
	return e, nil
}

func (e *epoll) open() sockets {
	d := &descriptors{dscp: e.dscp, loop: e.place(), rtp: closed, rtcp: closed}
	d.loop.sessions.Add(1)
	for leg := range d.twins {
		d.twins[leg].fd = -1
	}
	return d
}

// fill is how many sessions a loop is given before the next one gets any. Few loops that
// have much to do cost less than many that are woken for little, and so many are a quarter
// of a core.
const fill = 400

// place returns the loop that a new session goes to: the first that is not full, else the
// one with the fewest.
func (e *epoll) place() *loop {
	least := e.loops[0]
	for _, l := range e.loops {
		n := l.sessions.Load()
		if n < fill {
			return l
		}
		if n < least.sessions.Load() {
			least = l
		}
	}
	return least
}

func (e *epoll) close() {
	for _, l := range e.loops {
		l.close()
	}
}

// descriptors are a session's sockets as the kernel numbers them. Its loop alone reads
// from them and closes them, so that a number never means another call's socket.
type descriptors struct {
	dscp int
	loop *loop

	at [2]netip.AddrPort // where RTP is bound; immutable after listen

	// Owned by the loop once serve was called.
	session *Session
	slot    int32
	busy    [kinds]uint32 // the tick in which there was something to read last
	twins   [2]twin       // their sockets are opened and closed under mu

	mu        sync.Mutex // for what is written below, and for sending from outside the loop
	rtp, rtcp [2]int
}

var closed = [2]int{-1, -1}

// kinds of sockets that a session has: a leg's number, and more for RTCP and twins.
const (
	kindRTCP = 2
	kindTwin = 4
	kinds    = 6
)

func (d *descriptors) listen(leg rtp.Leg, addr netip.Addr, port uint16) (err error) {
	d.at[leg] = netip.AddrPortFrom(addr, port)
	if d.rtp[leg], err = d.socket(d.at[leg], false); err != nil {
		return err
	}
	hearRefusals(d.rtp[leg], addr.Is6())
	if d.rtcp[leg], err = d.socket(netip.AddrPortFrom(addr, port+1), false); err != nil {
		unix.Close(d.rtp[leg])
		d.rtp[leg] = -1
	}
	return err
}

// socket opens a socket at an address; shared, at one that another socket of ours has, which
// shares it as well.
func (d *descriptors) socket(at netip.AddrPort, shared bool) (fd int, err error) {
	family := unix.AF_INET
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open a UDP socket: %w", err)
	}
	if err = mark(fd, at.Addr().Is6(), d.dscp); err == nil && at.Addr().Is6() {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil && shared {
		err = sharePort(fd, true)
	}
	if err == nil {
		err = name(unix.SYS_BIND, fd, at)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind %v: %w", at, err)
	}
	return fd, nil
}

func (d *descriptors) serve(s *Session) {
	d.session = s
	d.loop.post(order{descriptors: d})
}

func (d *descriptors) send(leg rtp.Leg, packet []byte, to netip.AddrPort) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sendFrom(d.rtp[leg], packet, to)
}

func (d *descriptors) sendRTCP(leg rtp.Leg, packet []byte, to netip.AddrPort) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sendFrom(d.rtcp[leg], packet, to)
}

func (d *descriptors) sendFrom(fd int, packet []byte, to netip.AddrPort) error {
	if fd < 0 {
		return ErrClosed
	}
	return sendTo(fd, packet, to)
}

func (d *descriptors) close() {
	if d.session == nil { // never served
		d.release()
		return
	}
	done := make(chan struct{})
	d.loop.post(order{descriptors: d, done: done})
	<-done
}

// release closes what is open.
func (d *descriptors) release() {
	d.loop.sessions.Add(-1)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, fd := range []int{d.rtp[0], d.rtp[1], d.rtcp[0], d.rtcp[1], d.twins[0].fd, d.twins[1].fd} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	d.rtp, d.rtcp = closed, closed
}

// fd returns the socket of a kind.
func (d *descriptors) fd(kind int32) int {
	switch {
	case kind < kindRTCP:
		return d.rtp[kind]
	case kind < kindTwin:
		return d.rtcp[kind-kindRTCP]
	}
	return d.twins[kind-kindTwin].fd
}

// order is what a loop is told: to serve a session, or if done is set, to let go of it.
type order struct {
	*descriptors
	done chan struct{}
}

// loop serves the sockets of its sessions from one thread. It waits for the first packet,
// takes what there is, and then sleeps for the rest of a millisecond: what arrives
// meanwhile shares the next wake-up, which at a thousand streams halves the cost of a
// packet.
type loop struct {
	epoll, wake int // wake is an eventfd, readable when there are orders
	most        int // see mostFiles
	sessions    atomic.Int32
	tick        atomic.Uint32 // how often it woke; run's to move
	done        sync.WaitGroup

	mu     sync.Mutex
	orders []order
	ending bool

	// Owned by run.
	slots   []*descriptors // by the number that an event carries
	free    []int32
	events  [512]unix.EpollEvent
	from    sockaddr
	scratch [maxDatagram]byte
}

// wakeSlot is the event that carries no session.
const wakeSlot = -1

func newLoop() (*loop, error) {
	l := &loop{most: mostFiles()}
	l.tick.Store(1)
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		unix.Close(l.epoll)
		return nil, err
	}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, l.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeSlot}); err != nil {
		unix.Close(l.epoll)
		unix.Close(l.wake)
		return nil, err
	}
	l.done.Go(l.run) // ends with close
	return l, nil
}

func (l *loop) post(o order) {
	l.mu.Lock()
	l.orders = append(l.orders, o)
	l.mu.Unlock()
	l.rouse()
}

// rouse ends the loop's wait.
func (l *loop) rouse() {
	one := [8]byte{7: 1}
	unix.Write(l.wake, one[:]) // EAGAIN: it is awake
}

// close ends the loop; its sessions are closed by then.
func (l *loop) close() {
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	l.rouse()
	l.done.Wait()
	unix.Close(l.epoll)
	unix.Close(l.wake)
}

// loopNice puts the loops before what else the machine does, if the process may
// (CAP_SYS_NICE, or LimitNICE= of its unit): what they do is short, and is heard when late.
const loopNice = -11

func (l *loop) run() {
	runtime.LockOSThread()                           // not given back: the thread ends with the goroutine
	unix.Setpriority(unix.PRIO_PROCESS, 0, loopNice) // of this thread; where it is not allowed, as all others
	for {
		n := l.wait()
		woke := time.Now()
		l.tick.Add(1)
		ordered := false
		for i := range n {
			if e := &l.events[i]; e.Fd != wakeSlot {
				if e.Events&unix.EPOLLERR != 0 {
					refusals(l.slots[e.Fd], e.Pad)
				}
				l.read(l.slots[e.Fd], e.Pad, woke)
			} else {
				ordered = true
			}
		}
		if ordered && !l.obey() {
			return
		}
		if n < len(l.events) {
			pause(coalesce - time.Since(woke))
		}
	}
}

// wait returns how many sockets have something, one at least.
//
// While calls are up there nearly always are some, and neither this nor pause tells the
// runtime of its system call: it would take the loop's processor away every time, and look
// after it every 20 µs for that, which costs as much as the relaying. So a loop keeps a
// processor (see Engine.Threads), and gives it up only when nothing comes in.
func (l *loop) wait() int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events)), uintptr(len(l.events)), 0, 0, 0)
	for errno != 0 || n == 0 {
		more, err := unix.EpollWait(l.epoll, l.events[:], -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic("epoll_wait on a descriptor of ours: " + err.Error())
		}
		n, errno = uintptr(max(more, 0)), 0
	}
	return int(n)
}

// pause sleeps for so long, or until a signal: the runtime's, when it stops the world.
func pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := unix.NsecToTimespec(int64(d))
	unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}

// obey takes the orders that were posted. Events of sockets that it closes are past.
func (l *loop) obey() bool {
	var count [8]byte
	unix.Read(l.wake, count[:])
	l.mu.Lock()
	orders, ending := l.orders, l.ending
	l.orders = nil
	l.mu.Unlock()
	for _, o := range orders {
		if o.done == nil {
			l.add(o.descriptors)
			continue
		}
		l.slots[o.slot] = nil
		l.free = append(l.free, o.slot)
		o.release()
		close(o.done)
	}
	return !ending
}

func (l *loop) add(d *descriptors) {
	if n := len(l.free); n > 0 {
		d.slot, l.free = l.free[n-1], l.free[:n-1]
		l.slots[d.slot] = d
	} else {
		d.slot = int32(len(l.slots))
		l.slots = append(l.slots, d)
	}
	for kind := range int32(kindTwin) {
		if l.watch(d, kind) != nil {
			d.session.engine.deaf.Add(1)
		}
	}
}

// watch fails with ENOMEM, or where the user's epoll watches are used up.
func (l *loop) watch(d *descriptors, kind int32) error {
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, d.fd(kind), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: d.slot, Pad: kind})
}

// maxBurst is how many datagrams a socket that never falls silent may bring at once.
const maxBurst = 32

// read takes what a socket has: one datagram, as RTP comes one at a time. Only of one that
// had something in the tick before, too, is more asked for: a flood must not fill the
// queue that the peer's packets stand in.
func (l *loop) read(d *descriptors, kind int32, now time.Time) {
	most := 1
	tick := l.tick.Load()
	if d.busy[kind] == tick-1 {
		most = maxBurst
	}
	d.busy[kind] = tick
	in := d.fd(kind)
	for range most {
		size := uint32(unsafe.Sizeof(l.from))
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(in), uintptr(unsafe.Pointer(&l.scratch)), maxDatagram, 0,
			uintptr(unsafe.Pointer(&l.from)), uintptr(unsafe.Pointer(&size)))
		if errno != 0 {
			return
		}
		b, from := l.scratch[:n], l.from.addr()
		if kind >= kindRTCP && kind < kindTwin {
			d.session.control(rtp.Leg(kind-kindRTCP), from, b)
			continue
		}
		leg := rtp.Leg(kind % kindTwin)
		b, to := d.session.step(leg, from, d.session.at(now), b)
		if !to.IsValid() {
			continue
		}
		if err := l.forward(d, leg.Other(), b, to); err != nil {
			d.session.legs[leg.Other()].errors.Add(1)
		}
	}
}

// sendTo sends a datagram without waiting for room in the socket.
func sendTo(fd int, b []byte, to netip.AddrPort) error {
	var name sockaddr
	size := name.set(to)
	for range 2 { // what an earlier one met with (ICMP) is told on the next, which is then not sent
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL,
			uintptr(unsafe.Pointer(&name)), uintptr(size))
		if !refused(errno) {
			return errnoOf(errno)
		}
	}
	return unix.ECONNREFUSED
}

// name tells the kernel an address for a socket: SYS_BIND its own, SYS_CONNECT its peer's.
func name(call uintptr, fd int, a netip.AddrPort) error {
	var name sockaddr
	size := name.set(a)
	_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&name)), uintptr(size))
	return errnoOf(errno)
}

func errnoOf(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// sockaddr is an address as the kernel has it, of either IP version: RawSockaddrInet4 is
// the first half of it, by its own layout.
type sockaddr struct{ unix.RawSockaddrInet6 }

// set writes an address and returns how many bytes it takes.
func (s *sockaddr) set(a netip.AddrPort) uint32 {
	port := a.Port()<<8 | a.Port()>>8
	if a.Addr().Is4() {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(s)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: a.Addr().As4()}
		return unix.SizeofSockaddrInet4
	}
	s.RawSockaddrInet6 = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" { // as addr writes it; a link's name is resolved by no one here
		index, _ := strconv.ParseUint(zone, 10, 32)
		s.Scope_id = uint32(index)
	}
	return unix.SizeofSockaddrInet6
}

// addr reads an address that the kernel wrote.
func (s *sockaddr) addr() netip.AddrPort {
	port := s.Port<<8 | s.Port>>8
	if s.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(s)).Addr), port)
	}
	addr := netip.AddrFrom16(s.Addr).Unmap()
	if s.Scope_id != 0 {
		addr = addr.WithZone(strconv.Itoa(int(s.Scope_id)))
	}
	return netip.AddrPortFrom(addr, port)
}

// mark sets the DSCP of what a socket sends.
func mark(fd int, is6 bool, dscp int) error {
	level, option := unix.IPPROTO_IP, unix.IP_TOS
	if is6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	if err := unix.SetsockoptInt(fd, level, option, dscp<<2); err != nil {
		return fmt.Errorf("set DSCP %d: %w", dscp, err)
	}
	return nil
}
