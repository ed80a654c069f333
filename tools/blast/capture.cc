#include "tools/blast/capture.h"

#include <pcap/pcap.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace wicket::blast {

void CaptureWriter::CloseCapture::operator()(pcap_t* pcap) const { pcap_close(pcap); }
void CaptureWriter::CloseDumper::operator()(pcap_dumper_t* dumper) const {
  pcap_dump_close(dumper);
}

absl::StatusOr<CaptureWriter> CaptureWriter::Create(const std::string& file) {
  CaptureWriter capture;
  capture.file_ = file;
  capture.pcap_.reset(
      pcap_open_dead_with_tstamp_precision(DLT_EN10MB, 65535, PCAP_TSTAMP_PRECISION_NANO));
  if (!capture.pcap_) return absl::ResourceExhaustedError("pcap_open_dead()");
  capture.dumper_.reset(pcap_dump_open(capture.pcap_.get(), file.c_str()));
  if (capture.dumper_) return capture;
  return absl::UnavailableError(pcap_geterr(capture.pcap_.get()));
}

void CaptureWriter::Write(absl::Time at, std::span<const uint8_t> frame) {
  const timespec time = absl::ToTimespec(at);
  pcap_pkthdr header{};
  header.ts = {time.tv_sec, time.tv_nsec};
  header.caplen = header.len = static_cast<bpf_u_int32>(frame.size());
  pcap_dump(reinterpret_cast<u_char*>(dumper_.get()), &header, frame.data());
}

absl::Status CaptureWriter::Close() {
  const bool written = pcap_dump_flush(dumper_.get()) == 0;
  dumper_.reset();
  return written ? absl::OkStatus() : absl::DataLossError(absl::StrCat(file_, ": not written"));
}

absl::StatusOr<std::vector<CapturedDatagram>> ReadCapture(const std::string& file) {
  char error[PCAP_ERRBUF_SIZE] = "";
  const std::unique_ptr<pcap_t, void (*)(pcap_t*)> pcap(
      pcap_open_offline_with_tstamp_precision(file.c_str(), PCAP_TSTAMP_PRECISION_NANO, error),
      pcap_close);
  if (!pcap) {
    const bool named = absl::StartsWith(error, file);
    return absl::InvalidArgumentError(named ? error : absl::StrCat(file, ": ", error));
  }
  if (pcap_datalink(pcap.get()) != DLT_EN10MB) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": not a capture of Ethernet frames"));
  }
  std::vector<CapturedDatagram> datagrams;
  absl::Time first;
  pcap_pkthdr* header;
  const u_char* bytes;
  uint64_t number = 0;
  int got;
  while ((got = pcap_next_ex(pcap.get(), &header, &bytes)) == 1) {
    const auto datagram = ReadFrame({bytes, header->caplen});
    const absl::Time at = absl::TimeFromTimespec({header->ts.tv_sec, header->ts.tv_usec});
    ++number;
    if (!datagram) continue;
    if (datagrams.empty()) first = at;
    if (datagram->payload.size() > kPayloadMax) {
      return absl::InvalidArgumentError(absl::StrCat(
          file, ": packet ", number, ": ", datagram->payload.size(), " bytes in a datagram, of ",
          kPayloadMax, " at most (a host that leaves segments to its NIC captures larger ones)"));
    }
    datagrams.push_back({std::max(at - first, absl::ZeroDuration()),
                         datagram->from,
                         {datagram->payload.begin(), datagram->payload.end()}});
  }
  if (got == PCAP_ERROR) {
    return absl::DataLossError(
        absl::StrCat(file, ": packet ", number + 1, ": ", pcap_geterr(pcap.get())));
  }
  if (datagrams.empty()) return absl::NotFoundError(absl::StrCat(file, ": no UDP packets"));
  return datagrams;
}

}  // namespace wicket::blast
