package interop

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// sipp is one party's process.
type sipp struct {
	party    *party
	cmd      *exec.Cmd
	out      bytes.Buffer
	messages string // file of the trace
	errors   string
	scenario string
}

// exit is how a process ended.
type exit struct {
	name string
	err  error
}

// startSipp starts a party's process. It ends by itself when its script or its time is
// over; with the context it is killed. How it ends is told to ended.
func startSipp(ctx context.Context, directory string, p *party, daemon string, texts *strings.Replacer, limit time.Duration, ended chan<- exit) (*sipp, error) {
	xml, err := generate(p, daemon, texts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	file := func(suffix string) string { return filepath.Join(directory, p.name+suffix) }
	s := &sipp{party: p, messages: file(".messages"), errors: file(".errors"), scenario: xml}
	if err := os.WriteFile(file(".xml"), []byte(xml), 0o600); err != nil {
		return nil, err
	}
	port := 5060
	if p.port != 0 {
		port = p.port
	}
	args := []string{
		"-sf", file(".xml"), "-i", p.host, "-p", fmt.Sprint(port), "-mi", p.host, "-mp", "6000", "-m", fmt.Sprint(1 + len(p.later)), "-nostdin",
		"-cid_str", "%u-%p-" + p.name, // nothing in it that a URI has to escape
		"-timeout", fmt.Sprintf("%ds", int(limit.Seconds())), "-timeout_error", "-recv_timeout", fmt.Sprint(limit.Milliseconds() - 2000),
		"-trace_msg", "-message_file", s.messages, "-trace_err", "-error_file", s.errors,
	}
	if p.tcp {
		args = append(args, "-t", "t1")
	}
	if p.echo {
		args = append(args, "-rtp_echo")
	}
	if p.calls() {
		args = append(args, daemon)
	}
	s.cmd = exec.CommandContext(ctx, "sipp", args...)
	s.cmd.Dir = directory
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { ended <- exit{p.name, s.cmd.Wait()} }() // ends with the process
	if p.calls() {
		return s, nil
	}
	return s, await(5*time.Second, func() error { return bound(p.host, port, p.tcp) })
}

// bound reports whether a socket is bound to an address, as the kernel's tables have it.
func bound(host string, port int, tcp bool) error {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return err
	}
	table, hex := "udp", ""
	if tcp {
		table = "tcp"
	}
	b := addr.AsSlice()
	for i := 0; i < len(b); i += 4 { // each word in the byte order of the machine
		hex += fmt.Sprintf("%02X%02X%02X%02X", b[i+3], b[i+2], b[i+1], b[i])
	}
	if addr.Is6() {
		table += "6"
	}
	text, err := os.ReadFile("/proc/net/" + table)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), fmt.Sprintf(" %s:%04X ", hex, port)) {
		return fmt.Errorf("%s:%d is not bound", host, port)
	}
	return nil
}

// tell returns what there is to know of a process that did not do as it should.
func (s *sipp) tell() string {
	read := func(file string) string {
		text, _ := os.ReadFile(file)
		return string(text)
	}
	var lines []string
	for i, line := range strings.Split(s.scenario, "\n") {
		lines = append(lines, fmt.Sprintf("%4d %s", i+1, line))
	}
	return fmt.Sprintf("==== %s: errors\n%s\n==== %s: messages\n%s\n==== %s: scenario\n%s", s.party.name, read(s.errors), s.party.name, read(s.messages), s.party.name, strings.Join(lines, "\n"))
}
