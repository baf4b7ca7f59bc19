package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bewaard/bewaard/cmd/callsim/sim"
	"github.com/bewaard/bewaard/media/wav"
)

// baresip is a phone: it stands for the PBX, says what it thinks right, and is told what to
// do over its control socket (module ctrl_tcp: netstrings of JSON).
type baresip struct {
	home   string
	cmd    *exec.Cmd
	out    bytes.Buffer // written by the process until it is waited for
	conn   net.Conn
	events chan string // types of what happens; closed when the socket is
}

const controlPort = 4444

// phoneHz is the tone that the phone says all the time.
const phoneHz = 440

// phone is the configuration of a baresip without a sound card: it says a tone, and what it
// hears is kept in a file of its directory.
const phone = `poll_method epoll
sip_listen %[1]s:5060
sip_certificate %[5]s
sip_cafile %[6]s
sip_verify_server yes
net_interface %[1]s
audio_player aubridge,nobody
audio_source aufile,%[4]s
audio_alert aubridge,nobody
module_path %[3]s
module g711.so
module aubridge.so
module sndfile.so
module srtp.so
module dtls_srtp.so
snd_path %[7]s
rtcp_mux %[8]s
ausrc_srate 8000
ausrc_channels 1
module aufile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen %[1]s:%[2]d
`

// modulePaths are where distributions put baresip's modules.
var modulePaths = []string{"/usr/lib/baresip/modules", "/usr/lib/x86_64-linux-gnu/baresip/modules", "/usr/local/lib/baresip/modules"}

// startBaresip starts a phone at a host, whose calls go by the daemon's URI, and by an
// encryption of the media as baresip calls it, "" for none.
func startBaresip(ctx context.Context, directory, host, daemon, encryption string) (*baresip, error) {
	modules := ""
	for _, path := range modulePaths {
		if _, err := os.Stat(path); err == nil {
			modules = path
		}
	}
	sound := filepath.Join(directory, "tone.wav")
	if err := tone(sound, 30*time.Second); err != nil {
		return nil, err
	}
	account := fmt.Sprintf("<sip:+31205550100@%s>;regint=0;answermode=auto;outbound=\"sip:%s\";audio_codecs=pcma", host, daemon)
	mux := "no"
	if encryption != "" {
		account += ";mediaenc=" + encryption
	}
	if strings.HasPrefix(encryption, "dtls") {
		mux = "yes"
	}
	identity, authority := filepath.Join(directory, phoneFile), filepath.Join(directory, certificateFile)
	for name, text := range map[string]string{"config": fmt.Sprintf(phone, host, controlPort, modules, sound, identity, authority, directory, mux), "accounts": account + "\n", "contacts": ""} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	b := &baresip{home: directory, cmd: exec.CommandContext(ctx, "baresip", "-f", directory), events: make(chan string, 64)}
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.out
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	err := await(5*time.Second, func() error {
		var err error
		b.conn, err = net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(controlPort)))
		return err
	})
	if err != nil {
		b.cmd.Process.Kill()
		b.cmd.Wait()
		return nil, fmt.Errorf("reach baresip: %w\n%s", err, b.out.String())
	}
	go b.listen() // ends with the connection
	return b, nil
}

// tone writes a WAV file of 8 kHz: baresip ends a call when it has nothing to send.
func tone(file string, length time.Duration) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := wav.NewWriter(f, 8000, 1)
	if err != nil {
		return err
	}
	samples := make([]int16, int(length.Seconds()*8000))
	for i := range samples {
		samples[i] = sim.Tone(phoneHz)(i)
	}
	if err := w.Write(samples); err != nil {
		return err
	}
	return w.Close()
}

// heard reports whether the phone heard its own tone, which the other party sends back: a
// second of it at least. It is asked after the call.
func (b *baresip) heard() error {
	return await(3*time.Second, func() error {
		files, err := filepath.Glob(filepath.Join(b.home, "dump-*-dec.wav"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("baresip kept nothing of what it heard: %v", err)
		}
		for _, file := range files { // one each time that its audio began
			channels, failed := readWAV(file)
			if failed == nil {
				failed = wantTone("the phone", channels[0])
			}
			if failed == nil {
				return nil
			}
			err = failed
		}
		return err
	})
}

// readWAV reads a file's channels.
func readWAV(name string) (channels [2][]int16, err error) {
	f, err := os.Open(name)
	if err != nil {
		return channels, err
	}
	defer f.Close()
	r, err := wav.NewReader(f)
	if err != nil {
		return channels, err
	}
	b := make([]int16, 8000)
	for at := 0; ; {
		n, err := r.Read(b)
		for _, sample := range b[:n] {
			channels[at%r.Channels] = append(channels[at%r.Channels], sample)
			at++
		}
		if err != nil {
			return channels, nil
		}
	}
}

// wantTone wants a second of the phone's tone among samples, and little else there.
func wantTone(who string, samples []int16) error {
	const second = 8000
	best := 0.
	for at := 0; at+second <= len(samples); at += second / 4 {
		best = max(best, sim.Share(samples[at:at+second], phoneHz))
	}
	if best < 0.9 {
		return fmt.Errorf("%s heard %.1f s, of which no second is the phone's tone: %.2f at best", who, float64(len(samples))/second, best)
	}
	return nil
}

// listen reads what baresip tells.
func (b *baresip) listen() {
	defer close(b.events)
	r := bufio.NewReader(b.conn)
	for {
		head, err := r.ReadString(':')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
		if err != nil || n < 0 || n > 1<<20 {
			return
		}
		text := make([]byte, n+1) // with the comma
		if _, err := io.ReadFull(r, text); err != nil {
			return
		}
		var event struct{ Type string }
		if json.Unmarshal(text[:n], &event) == nil && event.Type != "" {
			b.events <- event.Type
		}
	}
}

// do follows a script: "await EVENT", ". 300ms", "heard", or a command of baresip's with its
// parameter.
func (b *baresip) do(ctx context.Context, script []string) error {
	for _, line := range script {
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "await":
			if err := b.await(ctx, rest); err != nil {
				return err
			}
		case "heard":
			if err := b.heard(); err != nil {
				return err
			}
		case ".":
			pause, err := time.ParseDuration(rest)
			if err != nil {
				return err
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return ctx.Err()
			}
		default:
			if err := b.command(verb, rest); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *baresip) await(ctx context.Context, event string) error {
	for {
		select {
		case got, ok := <-b.events:
			if !ok {
				return fmt.Errorf("wait for %s: baresip is gone", event)
			}
			if got == event {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", event, ctx.Err())
		}
	}
}

func (b *baresip) command(name, params string) error {
	text, err := json.Marshal(map[string]string{"command": name, "params": params})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(b.conn, "%d:%s,", len(text), text)
	return err
}

// stop has baresip leave.
func (b *baresip) stop() {
	b.command("quit", "")
	kill := time.AfterFunc(3*time.Second, func() { b.cmd.Process.Kill() })
	defer kill.Stop()
	b.cmd.Wait() // how it left does not matter
	b.conn.Close()
	for range b.events { // until listen has ended
	}
}
