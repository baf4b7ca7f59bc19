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

	"github.com/bewaard/bewaard/media/wav"
)

// baresip is a phone: it stands for the PBX, says what it thinks right, and is told what to
// do over its control socket (module ctrl_tcp: netstrings of JSON).
type baresip struct {
	cmd    *exec.Cmd
	out    bytes.Buffer // written by the process until it is waited for
	conn   net.Conn
	events chan string // types of what happens; closed when the socket is
}

const controlPort = 4444

// phone is the configuration of a baresip without a sound card.
const phone = `poll_method epoll
sip_listen %[1]s:5060
sip_certificate %[5]s
sip_cafile %[6]s
sip_verify_server yes
net_interface %[1]s
audio_player aufile,/dev/null
audio_source aufile,%[4]s
audio_alert aufile,/dev/null
module_path %[3]s
module g711.so
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

func startBaresip(ctx context.Context, directory, host, daemon string) (*baresip, error) {
	modules := ""
	for _, path := range modulePaths {
		if _, err := os.Stat(path); err == nil {
			modules = path
		}
	}
	sound := filepath.Join(directory, "silence.wav")
	if err := silence(sound, 30*time.Second); err != nil {
		return nil, err
	}
	account := fmt.Sprintf("<sip:+31205550100@%s>;regint=0;answermode=auto;outbound=\"sip:%s\";audio_codecs=pcma\n", host, daemon)
	identity, authority := filepath.Join(directory, phoneFile), filepath.Join(directory, certificateFile)
	for name, text := range map[string]string{"config": fmt.Sprintf(phone, host, controlPort, modules, sound, identity, authority), "accounts": account, "contacts": ""} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	b := &baresip{cmd: exec.CommandContext(ctx, "baresip", "-f", directory), events: make(chan string, 64)}
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

// silence writes a WAV file of 8 kHz: baresip ends a call when it has nothing to send.
func silence(file string, length time.Duration) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := wav.NewWriter(f, 8000, 1)
	if err != nil {
		return err
	}
	if err := w.Write(make([]int16, int(length.Seconds()*8000))); err != nil {
		return err
	}
	return w.Close()
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

// do follows a script: "await EVENT", ". 300ms", or a command of baresip's with its
// parameter.
func (b *baresip) do(ctx context.Context, script []string) error {
	for _, line := range script {
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "await":
			if err := b.await(ctx, rest); err != nil {
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
