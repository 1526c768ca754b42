package listener

import "sync/atomic"

// What a peer sends first over HTTP/2, and what matters of its frames (RFC 9113).
const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

	headBytes = 9

	frameData         = 0x0
	frameHeaders      = 0x1
	frameContinuation = 0x9

	flagEndStream = 0x1
)

// smallData is how many bytes of a body are too few for a frame of their own, unless it
// ends the body, or comes after a larger one: some clients send the length of each message
// of a stream, which has five bytes, before the message.
const smallData = 16

// What framesPerWaste frames cost that no handler receives is about what a request costs
// that is reset. One of them is paid for by every bytesPerFrame that were sent to the peer,
// which has to make room for more of them; at most savedBytes are counted.
const (
	framesPerWaste = 16
	bytesPerFrame  = 2 << 10
	savedBytes     = 1 << 20
)

// frames reads what the peer of a connection sends over HTTP/2, and counts the frames that
// the server handles by itself: the peer can send many of them without a request, and
// nothing else limits them.
type frames struct {
	begun   int  // how many bytes of the preface have come
	other   bool // the peer does not speak HTTP/2
	head    [headBytes]byte
	have    int  // how many bytes of head have come
	payload int  // how many bytes of the present frame's payload are to come
	small   bool // the last piece of a body was
	unpaid  int  // at most framesPerWaste

	sent atomic.Int64 // bytes that have not paid for a frame yet
}

// received takes what has come, and returns how much of it is a waste.
func (f *frames) received(p []byte) (waste int) {
	for len(p) > 0 && !f.other {
		n := 0
		switch {
		case f.begun < len(preface):
			n = min(len(p), len(preface)-f.begun)
			f.other = string(p[:n]) != preface[f.begun:f.begun+n]
			f.begun += n
		case f.payload > 0:
			n = min(len(p), f.payload)
			f.payload -= n
		default:
			n = copy(f.head[f.have:], p)
			if f.have += n; f.have == headBytes {
				f.have = 0
				waste += f.begin()
			}
		}
		p = p[n:]
	}
	return waste
}

// begin takes the head of a frame, and returns 1 if it is one too many.
func (f *frames) begin() (waste int) {
	f.payload = int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
	switch kind := f.head[3]; {
	case kind == frameHeaders || kind == frameContinuation:
		return 0 // the server limits them
	case kind == frameData && !f.piece():
		return 0
	case f.sent.Load() >= bytesPerFrame:
		f.sent.Add(-bytesPerFrame)
		return 0
	}
	if f.unpaid++; f.unpaid < framesPerWaste {
		return 0
	}
	f.unpaid = 0
	return 1
}

// piece takes the head of a frame with a piece of a body, and reports whether it is one of
// several small ones.
func (f *frames) piece() bool {
	before := f.small
	f.small = f.payload < smallData && f.head[4]&flagEndStream == 0
	return before && f.small
}

// sends counts what is sent to the peer.
func (f *frames) sends(n int) {
	if f.sent.Load() < savedBytes {
		f.sent.Add(int64(n))
	}
}
