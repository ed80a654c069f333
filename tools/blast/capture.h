// A load as a capture file, for tcpreplay, TRex and pktgen.
#pragma once

#include <memory>
#include <string>

#include "base/address.h"
#include "base/status.h"
#include "wire/messages.h"

typedef struct pcap pcap_t;
typedef struct pcap_dumper pcap_dumper_t;

namespace wicket::blast {

// Ethernet frames with nanosecond times. Thread: one.
class Capture {
 public:
  // Errors: names the file.
  static absl::StatusOr<Capture> Create(const std::string& file);

  void Write(absl::Time at, const Endpoint& from, const Endpoint& to,
             const wire::Initiation& message);
  // Errors: the disk's.
  absl::Status Close();

 private:
  struct CloseCapture {
    void operator()(pcap_t* pcap) const;
  };
  struct CloseDumper {
    void operator()(pcap_dumper_t* dumper) const;
  };
  std::string file_;
  std::unique_ptr<pcap_t, CloseCapture> pcap_;
  std::unique_ptr<pcap_dumper_t, CloseDumper> dumper_;
};

}  // namespace wicket::blast
