package wire_test

import (
	"net/http"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

func TestAResponseIsSentAsItWasEncoded(t *testing.T) {
	m := &interrexv1.PinResponse{Revision: 7}
	inProto, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	inJSON, err := wire.AppendJSON(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		wire.Response
		proto, json string
	}{
		"a message":          {wire.Response{Message: m}, "head" + string(inProto), "head" + string(inJSON)},
		"protobuf":           {wire.Response{Proto: inProto}, "head" + string(inProto), ""},
		"protobuf, of zeros": {wire.Response{}, "head", ""},
		"JSON":               {wire.Response{JSON: inJSON}, "", "head" + string(inJSON)},
	} {
		if b, err := c.AppendProto([]byte("head")); string(b) != c.proto || (err != nil) != (c.proto == "") {
			t.Errorf("%s as protobuf: %q, %v", what, b, err)
		}
		if b, err := c.AppendJSON([]byte("head")); string(b) != c.json || (err != nil) != (c.json == "") {
			t.Errorf("%s as JSON: %q, %v", what, b, err)
		}
		var response any = &c.Response
		if b, err := (wire.RequestCodec{}).Marshal(&response); "head"+string(b) != c.proto && c.proto != "" || (err != nil) != (c.proto == "") {
			t.Errorf("%s through the codec: %q, %v", what, b, err)
		}
	}
}

func TestARequestSaysHowItsResponseIsEncoded(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "application/JSON": true, "application/grpc+json": true,
		"application/proto": false, "application/grpc": false, "application/grpc-web+proto": false, "": false,
	} {
		if got := wire.WantsJSON(http.Header{"Content-Type": {contentType}}); got != want {
			t.Errorf("%s: %v", contentType, got)
		}
	}
}
