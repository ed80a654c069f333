// 1 / z = z^(p - 2), and 0 for z = 0.
#pragma once

namespace wicket::crypto {

template <typename Field>
typename Field::Narrow SquareTimes(typename Field::Narrow a, int times) {
  for (int i = 0; i < times; ++i) a = Field::Carry(Field::Square(a));
  return a;
}

// p - 2 = 2^255 - 21 is 250 ones followed by 01011. eN holds z^(2^N - 1).
// 254 squarings and 11 multiplications.
// Source: the addition chain of Bernstein, "Curve25519: new Diffie-Hellman speed
//         records" (2006), section 5.
template <typename Field>
typename Field::Narrow Invert(const typename Field::Narrow& z) {
  using Narrow = typename Field::Narrow;
  const auto multiply = [](const Narrow& a, const Narrow& b) {
    return Field::Carry(Field::Multiply(a, b));
  };
  const Narrow z2 = SquareTimes<Field>(z, 1);
  const Narrow z9 = multiply(SquareTimes<Field>(z2, 2), z);
  const Narrow z11 = multiply(z9, z2);
  const Narrow e5 = multiply(SquareTimes<Field>(z11, 1), z9);
  const Narrow e10 = multiply(SquareTimes<Field>(e5, 5), e5);
  const Narrow e20 = multiply(SquareTimes<Field>(e10, 10), e10);
  const Narrow e40 = multiply(SquareTimes<Field>(e20, 20), e20);
  const Narrow e50 = multiply(SquareTimes<Field>(e40, 10), e10);
  const Narrow e100 = multiply(SquareTimes<Field>(e50, 50), e50);
  const Narrow e200 = multiply(SquareTimes<Field>(e100, 100), e100);
  const Narrow e250 = multiply(SquareTimes<Field>(e200, 50), e50);
  return multiply(SquareTimes<Field>(e250, 5), z11);
}

}  // namespace wicket::crypto
