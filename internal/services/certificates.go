package services

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// Certificates implements CertificateService.
type Certificates struct {
	Table *member.Table
}

// Service returns the methods.
func (s Certificates) Service() method.Service {
	return method.Service{Methods: []method.Method{
		method.Read(interrexv1.CertificateServiceListCertificatesProcedure, s.list),
		method.Write(interrexv1.CertificateServiceRenewCertificateProcedure, state.MemberTable, renew, renewalAsked),
		method.Write(interrexv1.CertificateServiceRecertifyProcedure, state.MemberTable, recertify, recertified),
	}}
}

func (s Certificates) list(_ *interrexv1.ListCertificatesRequest, st *state.State) (*interrexv1.ListCertificatesResponse, error) {
	m := &interrexv1.ListCertificatesResponse{Revision: uint64(st.Revision())}
	for _, row := range s.Table.Members() {
		m.Items = append(m.Items, wire.Certificate(interrex.MemberCertificate{
			ID: row.ID, Serial: row.Certificate.Serial, Issuer: row.Certificate.Issuer, Ends: row.Certificate.Ends, Renewing: row.Renew,
		}))
	}
	return m, nil
}

func renew(m *interrexv1.RenewCertificateRequest) (state.Command, error) {
	return &member.Renew{ID: m.GetId()}, nil
}

func renewalAsked(r state.Result, _ *state.State) (*interrexv1.RenewCertificateResponse, error) {
	return &interrexv1.RenewCertificateResponse{Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

func recertify(m *interrexv1.RecertifyRequest) (state.Command, error) {
	return &member.Recertify{ID: m.GetId(), Key: string(m.GetKey()), Former: string(m.GetFormer()), Signature: string(m.GetSignature())}, nil
}

func recertified(r state.Result, _ *state.State) (*interrexv1.RecertifyResponse, error) {
	return &interrexv1.RecertifyResponse{Revision: uint64(r.Revision)}, nil
}
