// One immutable value, replaced by one thread and read by others without locks.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace wicket {

// Readers announce the version they use; the publisher keeps every version that a reader may
// still hold.
//
//   publisher: published.Publish(std::make_unique<T>(...));
//   reader:    const T& value = reader.Renew();   // once per batch
//
// Thread: one publisher; each Reader belongs to one thread. The publisher adds and removes
//         readers, while their threads do not run.
template <typename T>
class Published {
 public:
  class Reader {
   public:
    explicit Reader(const Published& source) : source_(&source) {}

    // Returns:  the latest version, valid until the next Renew, or until Remove().
    // Requires: the reader was added.
    const T& Renew() {
      const Version* version = source_->latest_.load(std::memory_order_acquire);
      // Collect() keeps all from the announced version on, so the one just read is still there.
      // The check takes one that came meanwhile.
      for (;;) {
        in_use_.store(version->number, std::memory_order_seq_cst);
        const Version* again = source_->latest_.load(std::memory_order_seq_cst);
        if (again == version) return *version->value;
        version = again;
      }
    }

   private:
    friend class Published;
    const Published* source_;
    std::atomic<uint64_t> in_use_{0};
  };

  explicit Published(std::unique_ptr<const T> first) { Publish(std::move(first)); }

  void Publish(std::unique_ptr<const T> value) {
    versions_.push_back(std::make_unique<Version>(Version{++number_, std::move(value)}));
    latest_.store(versions_.back().get(), std::memory_order_seq_cst);
    Collect();
  }

  // Counts the reader as a user of the latest version from here on, though it has not read it yet.
  void Add(Reader* reader) {
    reader->in_use_.store(number_, std::memory_order_seq_cst);
    readers_.push_back(reader);
  }
  void Remove(Reader* reader) { std::erase(readers_, reader); }

  // Frees the versions that no reader can hold.
  void Collect() {
    std::erase_if(versions_, [&](const std::unique_ptr<Version>& version) {
      if (version->number == number_) return false;
      for (const Reader* reader : readers_) {
        const uint64_t used = reader->in_use_.load(std::memory_order_seq_cst);
        if (used <= version->number) return false;
      }
      return true;
    });
  }
  size_t versions() const { return versions_.size(); }

 private:
  struct Version {
    uint64_t number;
    std::unique_ptr<const T> value;
  };
  std::vector<std::unique_ptr<Version>> versions_;
  std::vector<Reader*> readers_;
  std::atomic<const Version*> latest_{nullptr};
  uint64_t number_ = 0;
};

}  // namespace wicket
