package sdp

// Answer returns our answer to an offer, made before anybody else answered it
// (early media): the stream with the formats that are wanted, its direction
// mirrored, everything else refused. The stream is the offer's Audio.
func Answer(offer *Description, wanted func(Codec) bool, o Origin, port uint16) (*Description, error) {
	answer := offer.Clone()
	m, err := answer.Audio()
	if err != nil {
		return nil, err
	}
	dir := answer.Direction(m).Reverse()
	if m.Keep(wanted) == 0 {
		return nil, ErrNoAudio
	}
	answer.Locate(m, o, port)
	m.SetDirection(dir)
	return answer, nil
}
