// Classifies an image with an exported network, with the predict API of the installed mxnet wheel.
//
//     classify PREFIX image.ppm
//
// PREFIX names the files of `openatac export`: PREFIX-symbol.json, PREFIX-0000.params and PREFIX.json, which
// says the image's size, its normalisation and the labels. The image is a binary PPM (P6, 8 bits) of that size.
// Prints the five best classes with their probabilities.
#include <cstdint>  // needed by the next header, which does not include it

#include <mxnet/c_predict_api.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using Floats = std::vector<float>;

std::string ReadFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + " cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

// The text between the brackets behind "key": in the description, which has no nested lists.
std::string List(const std::string &json, const std::string &key) {
  const auto start = json.find('[', json.find("\"" + key + "\":"));
  const auto end = json.find(']', start);
  if (end == std::string::npos) throw std::runtime_error("the description has no list " + key);
  return json.substr(start + 1, end - start - 1);
}

Floats Numbers(const std::string &json, const std::string &key) {
  std::string text = List(json, key);
  std::replace(text.begin(), text.end(), ',', ' ');
  std::istringstream stream(text);
  return Floats(std::istream_iterator<float>(stream), {});
}

std::vector<std::string> Labels(const std::string &json) {
  std::istringstream stream(List(json, "labels"));
  std::vector<std::string> labels;
  for (std::string space, label; std::getline(stream, space, '"') && std::getline(stream, label, '"');)
    labels.push_back(label);
  return labels;
}

// The pixels of a PPM, normalised, in the order channel, row, column.
Floats ReadImage(const std::string &path, size_t height, size_t width, const Floats &mean, const Floats &std) {
  std::istringstream stream(ReadFile(path));
  std::string magic;
  size_t columns = 0, rows = 0, most = 0;
  stream >> magic >> columns >> rows >> most;
  stream.get();
  if (magic != "P6" || most != 255 || columns != width || rows != height)
    throw std::runtime_error(path + " is not a binary PPM of " + std::to_string(width) + " x " +
                             std::to_string(height) + " pixels");
  std::vector<unsigned char> pixels(3 * height * width);
  if (!stream.read(reinterpret_cast<char *>(pixels.data()), pixels.size()))
    throw std::runtime_error(path + " is cut short");
  Floats image(pixels.size());
  for (size_t channel = 0; channel < 3; ++channel)
    for (size_t pixel = 0; pixel < height * width; ++pixel)
      image[channel * height * width + pixel] = (pixels[3 * pixel + channel] - mean[channel]) / std[channel];
  return image;
}

void Check(int failed) {
  if (failed) throw std::runtime_error(MXGetLastError());
}

Floats Logits(const std::string &prefix, const Floats &image, mx_uint height, mx_uint width) {
  const std::string symbol = ReadFile(prefix + "-symbol.json"), params = ReadFile(prefix + "-0000.params");
  const char *inputs[] = {"data"};
  const mx_uint ends[] = {0, 4}, shape[] = {1, 3, height, width};
  PredictorHandle network = nullptr;
  Check(MXPredCreate(symbol.c_str(), params.data(), static_cast<int>(params.size()), 1 /* CPU */, 0, 1, inputs,
                     ends, shape, &network));
  Check(MXPredSetInput(network, "data", image.data(), static_cast<mx_uint>(image.size())));
  Check(MXPredForward(network));
  mx_uint *size = nullptr, dimensions = 0;
  Check(MXPredGetOutputShape(network, 0, &size, &dimensions));
  Floats logits(std::accumulate(size, size + dimensions, mx_uint{1}, std::multiplies<mx_uint>()));
  Check(MXPredGetOutput(network, 0, logits.data(), static_cast<mx_uint>(logits.size())));
  Check(MXPredFree(network));
  return logits;
}

void PrintBest(const Floats &logits, const std::vector<std::string> &labels, size_t count) {
  const float top = *std::max_element(logits.begin(), logits.end());
  const double sum = std::accumulate(logits.begin(), logits.end(), 0.0,
                                     [top](double all, float each) { return all + std::exp(each - top); });
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  order.resize(std::min(count, order.size()));
  for (size_t each : order)
    std::cout << std::exp(logits[each] - top) / sum << "\t"
              << (each < labels.size() ? labels[each] : std::to_string(each)) << "\n";
}

int main(int argc, char **argv) {
  if (argc != 3) {
    std::cerr << "usage: classify PREFIX image.ppm\n";
    return 2;
  }
  // MXNet 1.9.1 fuses operators by default, wrongly where a convolution's output also goes into a sum.
  setenv("MXNET_SUBGRAPH_BACKEND", "NONE", 0);
  try {
    const std::string prefix = argv[1], description = ReadFile(prefix + ".json");
    const Floats shape = Numbers(description, "image_shape");
    const auto height = static_cast<mx_uint>(shape.at(1)), width = static_cast<mx_uint>(shape.at(2));
    const Floats image = ReadImage(argv[2], height, width, Numbers(description, "mean"),
                                   Numbers(description, "std"));
    PrintBest(Logits(prefix, image, height, width), Labels(description), 5);
  } catch (const std::exception &error) {
    const std::string sentence = error.what();  // MXNet appends its stack: keep the first line
    std::cerr << "classify: " << sentence.substr(0, sentence.find('\n')) << "\n";
    return 1;
  }
}
