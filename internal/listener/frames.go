package listener

import "sync"

// What a peer sends first over HTTP/2, and what matters of frames (RFC 9113).
const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

	headBytes = 9

	frameData      = 0x0
	frameHeaders   = 0x1
	frameRSTStream = 0x3

	flagEndStream = 0x1
	flagPadded    = 0x8
)

// smallData is how many bytes of a body are too few for a frame of their own, unless it
// ends the body, or comes after a larger one: some clients send the length of each message
// of a stream, which has five bytes, before the message. Such a frame of an answer pays for
// none: a peer can have its answers sent in small pieces.
const smallData = 16

// What framesPerWaste frames cost that no handler receives is about what a request costs
// that is reset. One of them is paid for by every bytesPerFrame that were sent to the peer,
// which has to make room for more of them, and by each frame of an answer, since some peers
// measure with a PING how fast it came; at most savedBytes are counted.
const (
	framesPerWaste = 16
	bytesPerFrame  = 2 << 10
	savedBytes     = 1 << 20
)

// heads finds the heads of the frames in what is sent in one direction.
type heads struct {
	head    [headBytes]byte
	have    int // how many bytes of head have come
	payload int // how many bytes of the present frame's payload are to come
}

// next takes some bytes of p, and returns the others. It reports whether head is complete.
func (h *heads) next(p []byte) (rest []byte, complete bool) {
	if h.payload > 0 {
		n := min(len(p), h.payload)
		h.payload -= n
		return p[n:], false
	}
	n := copy(h.head[h.have:], p)
	if h.have += n; h.have < headBytes {
		return p[n:], false
	}
	h.have = 0
	h.payload = int(h.head[0])<<16 | int(h.head[1])<<8 | int(h.head[2])
	return p[n:], true
}

func (h *heads) kind() byte          { return h.head[3] }
func (h *heads) has(flags byte) bool { return h.head[4]&flags != 0 }

// frames reads what is sent in both directions of a connection over HTTP/2, and counts
// the frames that the server handles by itself: the peer can send many of them without a
// request, and nothing else limits them.
type frames struct {
	begun   int  // how many bytes of the preface have come
	other   bool // the peer does not speak HTTP/2
	small   bool // the last piece of a body that has come was
	in, out heads

	mu     sync.Mutex
	saved  int // bytes that have not paid for a frame yet
	unpaid int // at most framesPerWaste
}

// received takes what has come, and returns how much of it is a waste.
func (f *frames) received(p []byte) (waste int) {
	for len(p) > 0 && !f.other {
		if f.begun < len(preface) {
			n := min(len(p), len(preface)-f.begun)
			f.other = string(p[:n]) != preface[f.begun:f.begun+n]
			f.begun += n
			p = p[n:]
			continue
		}
		var complete bool
		if p, complete = f.in.next(p); complete && !f.requests() {
			waste += f.count()
		}
	}
	return waste
}

// requests reports whether a frame that has come is a part of a request. The server
// limits requests, but not in how many pieces their headers come.
func (f *frames) requests() bool {
	switch f.in.kind() {
	case frameHeaders:
		return true
	case frameData:
		return !f.in.has(flagPadded) && !f.piece()
	}
	return false
}

// piece takes a piece of a body, and reports whether it is one of several small ones.
func (f *frames) piece() bool {
	before := f.small
	f.small = f.in.payload < smallData && !f.in.has(flagEndStream)
	return before && f.small
}

// sent takes what is sent to the peer, and returns how much the peer has wasted by what it
// answers: the reset of a stream is for a frame that is part of no request after all.
func (f *frames) sent(p []byte) (waste int) {
	f.pay(len(p))
	for len(p) > 0 && f.begun == len(preface) && !f.other {
		var complete bool
		if p, complete = f.out.next(p); !complete {
			continue
		}
		switch kind := f.out.kind(); {
		case kind == frameRSTStream:
			waste += f.count()
		case kind == frameHeaders || kind == frameData && f.out.payload >= smallData:
			f.pay(bytesPerFrame)
		}
	}
	return waste
}

// count counts a frame, and returns 1 if it is one too many.
func (f *frames) count() (waste int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.saved >= bytesPerFrame {
		f.saved -= bytesPerFrame
		return 0
	}
	if f.unpaid++; f.unpaid < framesPerWaste {
		return 0
	}
	f.unpaid = 0
	return 1
}

// pay counts n bytes that were sent to the peer.
func (f *frames) pay(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.saved = min(savedBytes, f.saved+n)
}
