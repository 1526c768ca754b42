package client

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// The operations of a stream, each of one request. A claim that waits under an
// id promises to ask again.

func claimOperation(r interrex.ClaimRequest) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{
		AsksAgain: r.Wait > 0 && r.RequestID != "",
		Request:   &interrexv1.StreamOperation_Claim{Claim: wire.Claim(r)},
	}
}

func extendOperation(r interrex.ExtendRequest) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Extend{Extend: wire.Extend(r)}}
}

func revokeOperation(r interrex.RevokeRequest) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Revoke{Revoke: wire.Revoke(r)}}
}

func transferOperation(r interrex.TransferRequest) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Transfer{Transfer: wire.Transfer(r)}}
}

func pinOperation(r interrex.PinRequest) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Pin{Pin: wire.Pin(r)}}
}

func unpinOperation(r interrex.PinRequest) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Unpin{Unpin: wire.Unpin(r)}}
}

func getOperation(k interrex.Key, o interrex.ReadOptions) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Get{Get: wire.Get(k, o)}}
}

func listOperation(r interrex.ListRequest) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_List{List: wire.List(r)}}
}

func historyOperation(k interrex.Key) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_History{History: wire.History(k)}}
}
