#!/bin/bash
# What a recorded call costs here and with others, in one run on one machine: the table of
# docs/performance.md.
#
#   PEERS=DIR testdata/peers/bench.sh [media] [whole] [knee] [setup]     default: media whole
#
# PEERS holds the load rig and the scripts that start the others: asterisk.sh, rtpengine.sh,
# install.sh, rig/. A figure is the median of REPS runs (3), each peer in turn.
#
#   media   processor time a forwarded and recorded packet, at CALLS calls (500); delay, loss
#   whole   processor time a recorded call-second from the first INVITE until the last file
#           is written, at WHOLE calls (100) of HOLD (20s)
#   knee    more and more calls at once, until 0.01 % of the packets are lost or the delay's
#           p99 is above 5 ms: STEPS (200 400 600 900 1200 1500 1800) of each of WHO
#   setup   calls a second, from RATES (200 300 400 600 800 1000 1200): failures, set-up time
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${PEERS:?the directory of the load rig and the peers}"
state=${PEERS_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/peers}
rig=$state/rig
work=$(mktemp -d)
ours= # our daemon's pid
cleanup() {
	[ -z "$ours" ] || kill "$ours" 2>/dev/null || true
	"$PEERS/asterisk.sh" stop || true
	"$PEERS/rtpengine.sh" stop || true
	rm -rf "$work"
}
trap cleanup EXIT
[ -x "$rig" ] || "$PEERS/install.sh"
go build -o "$work/bewaard" ./cmd/bewaard

config() { # FORMATS|none
	cat <<-END
		organisation: {name: Bench, contact: bench@example.com}
		sip: {listen: [udp://127.0.10.5:5060]}
		media: {address: 127.0.10.5, ports: 30000-59999}
		trunks:
		  pbx: {side: internal, peers: [sip:127.0.10.2:5070], ping: 0s}
		  carrier: {side: external, peers: [sip:127.0.10.3:5080], ping: 0s}
		log: {level: error}
		store: {directory: $work/store}
		http: {listen: 127.0.10.5:8080}
	END
	if [ "$1" = none ]; then
		echo 'rules: [{name: all, record: none}]'
	else
		cat <<-END
			purposes:
			  bench: {text: {en: A benchmark}, basis: consent, consent: The load generator agreed, retention: P1D}
			rules: [{name: all, record: {purpose: bench}, exempt: A load generator hears no announcement}]
			recording: {formats: [$1]}
		END
	fi
}

start_ours() { # FORMATS|none
	rm -rf "$work/store"
	config "$1" >"$work/bewaard.yaml"
	"$work/bewaard" check -c "$work/bewaard.yaml" >&2
	"$work/bewaard" serve -c "$work/bewaard.yaml" >"$work/log" 2>&1 &
	ours=$!
	for _ in $(seq 50); do curl -fs -o /dev/null http://127.0.10.5:8080/readyz && return; sleep .1; done
	cat "$work/log" >&2
	exit 1
}
stop_ours() {
	kill "$ours"
	wait "$ours" || true
	ours=
}

# start PEER sets pid and the rig's arguments.
start() {
	args=()
	case $1 in
	ours-relay) start_ours none; pid=$ours args=(-target 127.0.10.5:5060 -user '4%06d') ;;
	ours-wav) start_ours wav; pid=$ours args=(-target 127.0.10.5:5060 -user '4%06d') ;;
	ours-opus) start_ours opus; pid=$ours args=(-target 127.0.10.5:5060 -user '4%06d') ;;
	asterisk-*)
		"$PEERS/asterisk.sh" stop
		pid=$("$PEERS/asterisk.sh" start | tail -1)
		case $1 in *-record) args=(-target 127.0.10.1:5060 -user '3%06d') ;; *) args=(-target 127.0.10.1:5060 -user '4%06d') ;; esac
		;;
	rtpengine-pcap)
		"$PEERS/rtpengine.sh" stop
		pid=$("$PEERS/rtpengine.sh" start 10 pcap | tail -1) args=(-ng 127.0.10.4:2223 -ng-record)
		;;
	esac
	pid=${pid##* }
}
stop() {
	case $1 in
	ours-*) stop_ours ;;
	asterisk-*) "$PEERS/asterisk.sh" stop; "$PEERS/asterisk.sh" clean ;;
	rtpengine-*) "$PEERS/rtpengine.sh" stop; "$PEERS/rtpengine.sh" clean ;;
	esac >/dev/null
}

ticks() { awk '{print ($14 + $15) / 100}' "/proc/$1/stat"; } # seconds of processor time
median() { sort -g | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'; }
field() { jq -r ".$1" "$2"; }
finished() { # until our recordings are written
	[ -n "$ours" ] || return 0
	until curl -fs http://127.0.10.5:8080/metrics | awk '/^bewaard_spool_pending/ {exit $2 != 0}'; do sleep .2; done
}

media() {
	local calls=${CALLS:-500} peer rep
	for rep in $(seq "${REPS:-3}"); do
		for peer in ours-relay ours-wav rtpengine-pcap; do
			start $peer
			"$rig" -label $peer -pids "$pid" "${args[@]}" -calls "$calls" -rate 40 -hold 10s >"$work/$peer.$rep.json"
			stop $peer
		done
	done
	printf '\n%s calls\n| | CPU-µs a packet | ratio to rtpengine | delay p50 / p99 ms | lost %% | KiB a call |\n|---|---|---|---|---|---|\n' "$calls"
	local base=$(jq -r .cpu_ms_per_1000_pkts "$work"/rtpengine-pcap.*.json | median)
	for peer in ours-relay ours-wav rtpengine-pcap; do
		local each=("$work/$peer".*.json) m
		m=$(jq -r .cpu_ms_per_1000_pkts "${each[@]}" | median)
		printf '| %s | %.1f | %.2f | %.2f / %.2f | %s | %.0f |\n' $peer "$m" "$(awk "BEGIN {print $m / $base}")" \
			"$(jq -r .delay_ms_p50 "${each[@]}" | median)" "$(jq -r .delay_ms_p99 "${each[@]}" | median)" \
			"$(jq -r .loss_pct "${each[@]}" | median)" "$(jq -r .rss_kb_per_call "${each[@]}" | median)"
	done
}

whole() {
	local calls=${WHOLE:-100} hold=${HOLD:-20s} peer rep
	for rep in $(seq "${REPS:-3}"); do
		for peer in ours-wav ours-opus asterisk-record; do
			start $peer
			local before=$(ticks "$pid")
			"$rig" -label $peer -pids "$pid" "${args[@]}" -calls "$calls" -rate 20 -hold "$hold" >"$work/whole-$peer.$rep.json"
			finished
			sleep 1
			awk "BEGIN {print ($(ticks "$pid") - $before) * 1000 / $(field call_seconds "$work/whole-$peer.$rep.json")}" >>"$work/whole-$peer"
			stop $peer
		done
	done
	printf '\n%s calls of %s and more\n| | CPU-ms a recorded call-second, all told | ratio to Asterisk |\n|---|---|---|\n' "$calls" "$hold"
	local base=$(median <"$work/whole-asterisk-record")
	for peer in ours-wav ours-opus asterisk-record; do
		local m=$(median <"$work/whole-$peer")
		printf '| %s | %.2f | %.3f |\n' $peer "$m" "$(awk "BEGIN {print $m / $base}")"
	done
}

knee() {
	local peer n
	printf '\n| | calls | lost %% | delay p50 / p99 ms | CPU-ms a call-second |\n|---|---|---|---|---|\n'
	for peer in ${WHO:-ours-wav asterisk-record rtpengine-pcap}; do
		for n in ${STEPS:-200 400 600 900 1200 1500 1800}; do
			start $peer
			"$rig" -label $peer -pids "$pid" "${args[@]}" -calls "$n" -rate 40 -hold 10s >"$work/knee.json" || true
			stop $peer
			jq -r --arg peer $peer '"| \($peer) | \(.calls_good) of \(.calls_attempted) | \(.loss_pct) | \(.delay_ms_p50) / \(.delay_ms_p99) | \(.cpu_ms_per_call_s) |"' "$work/knee.json"
			jq -e '.loss_pct < 0.01 and .delay_ms_p99 < 5 and .calls_good == .calls_attempted' "$work/knee.json" >/dev/null || break
		done
	done
}

setup() {
	local peer rate
	printf '\n| | calls/s | failed %% | set-up p50 / p99 ms | CPU-ms a call |\n|---|---|---|---|---|\n'
	for peer in ours-relay asterisk-bridge; do
		for rate in ${RATES:-200 300 400 600 800 1000 1200}; do
			start $peer
			"$rig" -label $peer -pids "$pid" "${args[@]}" -churn -calls $((rate * 10)) -rate "$rate" -hold .1s -settle 0s -max 4000 -wait 5s >"$work/setup.json" || true
			stop $peer
			jq -r --arg peer $peer --arg rate "$rate" '"| \($peer) | \($rate) | \((.calls_attempted - .calls_good) * 100 / .calls_attempted) | \(.setup_ms_p50) / \(.setup_ms_p99) | \(.cpu_s * 1000 / .calls_attempted) |"' "$work/setup.json"
			jq -e '.calls_good > .calls_attempted * 0.99' "$work/setup.json" >/dev/null || break
		done
	done
}

for part in "${@:-media whole}"; do
	for each in $part; do "$each"; done
done
